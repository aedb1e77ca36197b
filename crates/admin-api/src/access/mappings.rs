//! `GET` and `PUT /_wardroom/admin/v1/role_mappings`: by which rules sources give roles, and aliases.

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Users;
use wardroom_care::{Alias, Role, Source};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

const MAPPINGS: &str = "/_wardroom/admin/v1/role_mappings";

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(MAPPINGS, Users, "Shows by which rules of the configuration, and which aliases, sources give roles.", show)
        .put(MAPPINGS, Users, "Sets the aliases: which roles a value of a source gives (`aliases`).", set)
}

async fn show(state: AdminState, _: Asked) -> Result<Json<Value>, ApiError> {
    Ok(Json(shown(&state)))
}

fn shown(state: &AdminState) -> Value {
    let mappings = state.care.roles().mappings();
    let alias = |alias: Alias| {
        let roles: Vec<String> = alias.roles.iter().map(ToString::to_string).collect();
        json!({ "source": alias.source.map(Source::name), "value": alias.value, "roles": roles })
    };
    let aliases: Vec<Value> = mappings.aliases().into_iter().map(alias).collect();
    let rules = mappings.shown_rules().into_iter();
    let rules = rules.flat_map(|(source, rules)| rules.into_iter().map(move |rule| (source.name(), rule)));
    let rules: Vec<Value> = rules.map(|(source, rule)| json!({ "source": source, "rule": rule })).collect();
    json!({ "rules": rules, "aliases": aliases })
}

async fn set(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        aliases: Vec<Given>,
    }
    #[derive(Deserialize)]
    struct Given {
        source: Option<String>,
        value: String,
        roles: Vec<String>,
    }
    let Body { aliases } = asked.body()?;
    let mut read = Vec::with_capacity(aliases.len());
    for (index, Given { source, value, roles }) in aliases.into_iter().enumerate() {
        let source = source.map(|name| {
            let none = || ApiError::invalid_param(format!("aliases[{index}].source: there is no such source."));
            Source::named(&name).ok_or_else(none)
        });
        let role = |(at, text): (usize, &String)| {
            let wrong = |error| ApiError::invalid_param(format!("aliases[{index}].roles[{at}]: {error}."));
            Role::parse(text).map_err(wrong)
        };
        let roles = roles.iter().enumerate().map(role).collect::<Result<_, _>>()?;
        read.push(Alias { source: source.transpose()?, value, roles });
    }
    state.care.roles().mappings().set_aliases(read).await.map_err(error::of_care)?;
    Ok(Json(shown(&state)))
}
