//! What is watched, and what is kept of it: of services the metadata, and the backends and clients whole. Everything else
//! is watched by its metadata and not stored.

use super::Shown;
use crate::conventions::is_absent;
use crate::service::{Child, Known, Newest};
use codecrucible_crds::{AccessPolicy, ModelBackend, SynthesisClient, names};
use futures::{Stream, StreamExt as _, TryStreamExt as _, future, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::Notify;

/// Objects of one page of a list: a page is in memory as a whole, and with it what it was parsed from.
const PAGE_OBJECTS: u32 = 20;

/// A kind of objects that can be watched.
pub(super) trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static
{
}

/// What all watches share.
#[derive(Clone, Default)]
pub(super) struct Marks {
    /// The only namespace that is watched; all, if it is none.
    namespace: Option<Arc<str>>,
    /// How new what they have shown is.
    newest: Arc<Newest>,
    /// Told of when one had to list everything again.
    relisted: Arc<Notify>,
}

impl Marks {
    pub(super) fn new(namespace: Option<&str>) -> Self {
        Self { namespace: namespace.map(Arc::from), ..Self::default() }
    }

    fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.namespace {
            None => Api::all(client.clone()),
            Some(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }

    pub(super) fn newest(&self) -> Arc<Newest> {
        Arc::clone(&self.newest)
    }

    /// Each time that a watch had to list everything again. What was deleted meanwhile nobody tells of.
    pub(super) fn relists(&self) -> impl Stream<Item = ()> + Send + use<> {
        stream::unfold(Arc::clone(&self.relisted), |relisted| async {
            relisted.notified().await;
            Some(((), relisted))
        })
    }
}

/// Our resources.
pub(super) fn resources(
    client: &Client,
    writer: Writer<Known>,
    marks: &Marks,
) -> impl Stream<Item = Shown<Known>> + Send + use<> {
    kept(client, writer, marks, without_labels, |_| {})
}

/// Our backends.
pub(super) fn backends(
    client: &Client,
    writer: Writer<ModelBackend>,
    marks: &Marks,
) -> impl Stream<Item = Shown<ModelBackend>> + Send + use<> {
    kept(client, writer, marks, without_labels, noting(marks, &()))
}

/// All access policies, with the labels by which they are selected.
pub(super) fn access_policies(
    client: &Client,
    writer: Writer<AccessPolicy>,
    marks: &Marks,
) -> impl Stream<Item = Shown<AccessPolicy>> + Send + use<> {
    kept(client, writer, marks, |_| {}, noting(marks, &()))
}

/// The clients of all applications. What they ask for counts once all are known, the first ones too.
pub(super) fn clients(
    client: &Client,
    writer: Writer<SynthesisClient>,
    marks: &Marks,
) -> impl Stream<Item = Shown<SynthesisClient>> + Send + use<> {
    let relisted = Arc::clone(&marks.relisted);
    kept(client, writer, marks, without_labels, move |event| {
        if matches!(event, Event::InitDone) {
            relisted.notify_one();
        }
    })
}

/// Notes how new what a watch shows is, and every list but the first one.
fn noting<K: Resource>(marks: &Marks, kind: &K::DynamicType) -> impl FnMut(&Event<K>) + Send + use<K> {
    let (newest, mut lists, kind) = (marks.newest(), Lists::new(&marks.relisted), K::kind(kind).into_owned());
    move |event| {
        lists.note(event);
        match event {
            Event::Apply(object) | Event::Delete(object) | Event::InitApply(object) => {
                newest.note(&kind, object.meta().resource_version.as_deref());
            }
            Event::Init => {}
            Event::InitDone => newest.note_listed(&kind),
        }
    }
}

/// The lists that a watch began with.
struct Lists {
    relisted: Arc<Notify>,
    is_first: bool,
}

impl Lists {
    fn new(relisted: &Arc<Notify>) -> Self {
        Self { relisted: Arc::clone(relisted), is_first: true }
    }

    /// Tells of every list but the first one.
    fn note<K>(&mut self, event: &Event<K>) {
        if matches!(event, Event::InitDone) && !std::mem::take(&mut self.is_first) {
            self.relisted.notify_one();
        }
    }
}

/// Metadata of the objects that the operator made, and of pods that have its labels.
pub(super) fn children<K>(
    client: &Client,
    marks: &Marks,
) -> impl Stream<Item = Shown<PartialObjectMeta<K>>> + Send + use<K>
where
    K: Watched,
{
    touched(client, listing().labels(&ours()), marks)
}

/// The label of what the operator made.
fn ours() -> String {
    format!("{}={}", names::LABEL_MANAGED_BY, names::MANAGED_BY)
}

/// Metadata of children of a kind that the cluster may be without. While it is not served, it is asked for again at most every half
/// minute (the watch's own pause), and nobody is told.
pub(super) fn optional(
    client: &Client,
    marks: &Marks,
    child: Child,
) -> impl Stream<Item = Shown<PartialObjectMeta<DynamicObject>>> + Send + use<> {
    let served = child.api_resource();
    let api: Api<PartialObjectMeta<DynamicObject>> = match &marks.namespace {
        None => Api::all_with(client.clone(), &served),
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &served),
    };
    let mut note = noting(marks, &served);
    watcher(api, listing().labels(&ours()))
        .default_backoff()
        .filter(|event| future::ready(!event.as_ref().is_err_and(is_not_served)))
        .inspect_ok(move |event| note(event))
        .touched_objects()
}

fn is_not_served(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    let (InitialListFailed(error) | WatchStartFailed(error)) = error else { return false };
    is_absent(error)
}

/// Metadata of all Secrets: those that people make carry no label of ours.
pub(super) fn secrets(
    client: &Client,
    marks: &Marks,
) -> impl Stream<Item = Shown<PartialObjectMeta<Secret>>> + Send + use<> {
    touched(client, listing(), marks)
}

fn listing() -> watcher::Config {
    watcher::Config::default().page_size(PAGE_OBJECTS)
}

/// Metadata that is not kept, except for how new it is.
fn touched<K>(
    client: &Client,
    config: watcher::Config,
    marks: &Marks,
) -> impl Stream<Item = Shown<PartialObjectMeta<K>>> + Send + use<K>
where
    K: Watched,
{
    let mut note = noting(marks, &());
    watcher(marks.api::<PartialObjectMeta<K>>(client), config)
        .default_backoff()
        .inspect_ok(move |event| note(event))
        .touched_objects()
}

fn without_labels<K: Watched>(object: &mut K) {
    object.meta_mut().labels = None;
}

/// All objects of a kind of ours: without who set which field, and without what people and tools note.
fn kept<K, F>(
    client: &Client,
    writer: Writer<K>,
    marks: &Marks,
    lighten: fn(&mut K),
    mut note: F,
) -> impl Stream<Item = Shown<K>> + Send + use<K, F>
where
    K: Watched,
    F: FnMut(&Event<K>) + Send + 'static,
{
    let store = writer.as_reader();
    watcher(marks.api::<K>(client), listing())
        .default_backoff()
        .modify(move |object| {
            // Not cleared: an empty list would keep the memory of what was in it.
            let metadata = object.meta_mut();
            metadata.managed_fields = None;
            metadata.annotations = None;
            metadata.finalizers = None;
            metadata.owner_references = None;
            lighten(object);
        })
        .reflect(writer)
        .inspect_ok(move |event| note(event))
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
    use crate::service::fixtures::backend;
    use kube::ResourceExt as _;
    use kube::runtime::reflector;
    use serde_json::json;

    #[tokio::test]
    async fn every_list_but_the_first_is_told_of() {
        let marks = Marks::default();
        let mut lists = Lists::new(&marks.relisted);
        let mut told = Box::pin(marks.relists());
        let mut is_told = || futures::FutureExt::now_or_never(told.next()).flatten().is_some();
        for event in [Event::Init, Event::InitDone, Event::Init] {
            lists.note::<ModelBackend>(&event);
            assert!(!is_told());
        }
        lists.note::<ModelBackend>(&Event::InitDone);
        assert!(is_told());
    }

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
