//! A request in Cedar's words.

use super::{Asked, Asking};
use cedar_policy::{Context, Entities, Entity, EntityUid, Request, RestrictedExpression};
use codecrucible_contract::{access_schema, entity};
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;
use time::OffsetDateTime;

/// The question; nothing for one that cannot be put, which nobody may be answered.
pub(super) fn request(asking: &Asking<'_>, asked: &Asked<'_>) -> Option<Request> {
    let principal = entity("Client", asking.client)?;
    let action = entity("Action", asked.action.as_str())?;
    let resource = entity("Model", asked.model)?;
    Request::new(principal, action, resource, context(asking)?, access_schema()).ok()
}

fn context(asking: &Asking<'_>) -> Option<Context> {
    let now = RestrictedExpression::new_datetime(written(asking.now));
    let age = i64::try_from(asking.token_age.as_millis()).ok()?;
    Context::from_pairs([
        ("address".to_owned(), RestrictedExpression::new_ip(asking.address.to_canonical().to_string())),
        ("now".to_owned(), now),
        ("tokenAge".to_owned(), RestrictedExpression::new_duration(format!("{age}ms"))),
    ])
    .ok()
}

/// A moment in the form that Cedar reads.
fn written(moment: SystemTime) -> String {
    let moment = OffsetDateTime::from(moment);
    let (date, month) = (moment.date(), u8::from(moment.month()));
    let (hour, minute, second, milli) = moment.time().as_hms_milli();
    format!("{:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z", date.year(), date.day())
}

/// What is known of whoever and whatever the question names.
pub(super) fn entities(asking: &Asking<'_>, asked: &Asked<'_>, namespace: &str) -> Option<Entities> {
    let client = child(entity("Client", asking.client)?, entity("Namespace", namespace)?)?;
    let model = child(entity("Model", asked.model)?, entity("Backend", asked.backend)?)?;
    Entities::from_entities([client, model], None).ok()
}

fn child(entity: EntityUid, parent: EntityUid) -> Option<Entity> {
    Entity::new(entity, HashMap::new(), HashSet::from([parent])).ok()
}
