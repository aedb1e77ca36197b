//! What the fuzz targets do with their bytes, as plain functions: each takes any input, and panics only when the server
//! would, or when something that always holds does not hold.

mod events;
mod requests;
mod texts;

pub use self::{
    events::{canonical_json, pdu},
    requests::request,
    texts::tokens,
};

#[cfg(test)]
mod tests {
    /// Inputs that are nearly right, and what is left of them when bytes are cut off or changed.
    fn each_of(seed: &[u8], target: fn(&[u8])) {
        target(seed);
        for at in 0..seed.len() {
            target(&seed[..at]);
            target(&seed[at..]);
            for byte in [0, b'"', b'{', b'9', 0xff] {
                let mut changed = seed.to_vec();
                changed[at] = byte;
                target(&changed);
            }
        }
    }

    const EVENT: &[u8] = br#"{"auth_events":["$a"],"content":{"membership":"join"},"depth":3,
        "hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"},"origin_server_ts":1,"prev_events":["$b"],
        "room_id":"!r:x.example","sender":"@a:x.example","signatures":{"x.example":{"ed25519:1":"AA"}},"state_key":
        "@a:x.example","type":"m.room.member"}"#;

    #[test]
    fn seeds() {
        each_of(EVENT, super::canonical_json);
        for version in 0..8 {
            each_of(&[&[version], EVENT].concat(), super::pdu);
        }
        for token in ["s77", "t77_3", "s18446744073709551615"] {
            each_of(token.as_bytes(), super::tokens);
        }
        let mut request = b"\x00\x01!a:b\x00limit=1&x=\x00{\"type\":\"m.login.password\",\"user\":\"x\"}".to_vec();
        for endpoint in 0..16 {
            request[0] = endpoint;
            super::request(&request);
        }
        each_of(&request, super::request);
    }
}
