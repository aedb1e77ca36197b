//! The same event comes from many servers at once; one of its copies is worked on.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use ruma::{EventId, OwnedEventId};
use tokio::sync::watch;

type Underway = HashMap<OwnedEventId, watch::Receiver<bool>>;

/// Events that are worked on. Bounded by the transactions that are: each waits for its own.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    underway: Arc<Mutex<Underway>>,
}

/// Who works on an event.
pub(crate) enum Boarding {
    /// Whoever asked.
    First(Flight),
    /// Somebody else.
    Underway(Landing),
}

/// The right to work on an event, until it is dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    id: OwnedEventId,
    landed: watch::Sender<bool>,
    underway: Arc<Mutex<Underway>>,
}

/// Tells when somebody else is done with an event.
#[derive(Debug)]
pub(crate) struct Landing(watch::Receiver<bool>);

impl Flights {
    /// Takes an event on, unless somebody works on it.
    pub(crate) fn board(&self, id: &EventId) -> Boarding {
        let mut underway = self.underway.lock();
        if let Some(landing) = underway.get(id) {
            return Boarding::Underway(Landing(landing.clone()));
        }
        let (landed, landing) = watch::channel(false);
        underway.insert(id.to_owned(), landing);
        Boarding::First(Flight { id: id.to_owned(), landed, underway: Arc::clone(&self.underway) })
    }
}

impl Flight {
    pub(crate) fn is_of(&self, id: &EventId) -> bool {
        self.id == id
    }

    /// Says whether the event was taken.
    pub(crate) fn land(&mut self, taken: bool) {
        self.landed.send_replace(taken);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.underway.lock().remove(&self.id);
    }
}

impl Landing {
    /// Waits; true where the event was taken.
    pub(crate) async fn arrived(mut self) -> bool {
        // Without a sender, the last word stands: a flight that nobody ended took nothing.
        drop(self.0.wait_for(|taken| *taken).await);
        *self.0.borrow()
    }
}

#[cfg(test)]
mod tests {
    use ruma::event_id;

    use super::{Boarding, Flights};

    #[tokio::test]
    async fn one_copy_is_worked_on_and_the_others_hear_what_became_of_it() {
        let (flights, id) = (Flights::default(), event_id!("$a"));
        let Boarding::First(mut flight) = flights.board(id) else { panic!("nobody else has it") };
        let Boarding::Underway(landing) = flights.board(id) else { panic!("somebody has it") };
        let waiting = tokio::spawn(landing.arrived());
        flight.land(true);
        assert!(waiting.await.unwrap());
        drop(flight);
        let Boarding::First(flight) = flights.board(id) else { panic!("nobody has it any more") };
        let Boarding::Underway(landing) = flights.board(id) else { panic!("somebody has it") };
        drop(flight);
        assert!(!landing.arrived().await, "given up");
        assert!(flights.underway.lock().is_empty());
    }
}
