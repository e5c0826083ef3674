//! What is watched, and what is kept of it: of our resources the metadata, and the few backends. Everything else
//! is watched by its metadata and not stored.

use super::Known;
use crate::reconcile::Newest;
use codecrucible_crds::{ModelBackend, names};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;

/// Objects of one page of a list: a page is in memory as a whole, and with it what it was parsed from.
const PAGE_OBJECTS: u32 = 20;

/// What a watch brings.
type Shown<K> = Result<K, watcher::Error>;

/// Our resources.
pub(super) fn resources(
    client: &Client,
    writer: Writer<Known>,
) -> impl Stream<Item = Shown<Known>> + Send + use<> {
    kept(client, writer)
}

/// Our backends.
pub(super) fn backends(
    client: &Client,
    writer: Writer<ModelBackend>,
) -> impl Stream<Item = Shown<ModelBackend>> + Send + use<> {
    kept(client, writer)
}

/// Metadata of the objects that the operator made, and of pods that have its labels.
pub(super) fn children<K>(
    client: &Client,
    newest: &Arc<Newest>,
) -> impl Stream<Item = Shown<PartialObjectMeta<K>>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let label = format!("{}={}", names::LABEL_MANAGED_BY, names::MANAGED_BY);
    touched(client, listing().labels(&label), newest)
}

/// Metadata of all Secrets: those that people make carry no label of ours.
pub(super) fn secrets(
    client: &Client,
    newest: &Arc<Newest>,
) -> impl Stream<Item = Shown<PartialObjectMeta<Secret>>> + Send + use<> {
    touched(client, listing(), newest)
}

fn listing() -> watcher::Config {
    watcher::Config::default().page_size(PAGE_OBJECTS)
}

/// Metadata that is not kept, except for how new it is.
fn touched<K>(
    client: &Client,
    config: watcher::Config,
    newest: &Arc<Newest>,
) -> impl Stream<Item = Shown<PartialObjectMeta<K>>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let newest = Arc::clone(newest);
    watcher(Api::<PartialObjectMeta<K>>::all(client.clone()), config)
        .default_backoff()
        .touched_objects()
        .inspect_ok(move |object| newest.note(&K::kind(&()), object.metadata.resource_version.as_deref()))
}

/// All objects of a kind of ours: without who set which field, and without what tools note.
fn kept<K>(client: &Client, writer: Writer<K>) -> impl Stream<Item = Shown<K>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let store = writer.as_reader();
    watcher(Api::<K>::all(client.clone()), listing())
        .default_backoff()
        .modify(|object| {
            object.managed_fields_mut().clear();
            object.annotations_mut().clear();
        })
        .reflect(writer)
        .map_ok(move |event| {
            stream::iter(findable(event, &store)).map(|object| Ok(Arc::unwrap_or_clone(object)))
        })
        .try_flatten()
}

/// The objects that an event is about, as soon as the store has them: those of a list come into it together when
/// the list ends. To reconcile one before that would find nothing, and nobody would tell of it again.
fn findable<K>(event: Event<K>, store: &Store<K>) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    match event {
        Event::Apply(object) | Event::Delete(object) => vec![Arc::new(object)],
        Event::Init | Event::InitApply(_) => Vec::new(),
        Event::InitDone => store.state(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::fixtures::backend;
    use kube::runtime::reflector;
    use serde_json::json;

    #[test]
    fn what_a_list_brings_is_told_of_when_it_can_be_found() {
        let (store, mut writer) = reflector::store::<ModelBackend>();
        let mut told = |event: Event<ModelBackend>| {
            writer.apply_watcher_event(&event);
            let objects = findable(event, &store).into_iter();
            let mut names: Vec<_> = objects.map(|object| object.name_any()).collect();
            names.sort();
            names
        };
        let named = |name: &str| backend(name, json!({"type": "OpenAI", "models": []}));
        assert_eq!(told(Event::Init), [""; 0]);
        assert_eq!(told(Event::InitApply(named("one"))), [""; 0]);
        assert_eq!(told(Event::InitApply(named("two"))), [""; 0]);
        assert_eq!(told(Event::InitDone), ["one", "two"]);
        assert_eq!(told(Event::Apply(named("three"))), ["three"]);
        assert_eq!(told(Event::Delete(named("one"))), ["one"]);
    }
}
