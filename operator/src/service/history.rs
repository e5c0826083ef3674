//! What a service was: each pod template and each policy that it was given is kept in an object of its own, so that it can
//! go back to one. The object's name is the address of its content, which nobody can change: the API server refuses it,
//! and what is read is checked against the name.

use super::desired::metadata::metadata;
use super::document;
use super::pod::TLS_ARGUMENT;
use codecrucible_contract::{Bundle, Revision, canonical, layout, sha256_hex};
use codecrucible_crds::{CodeCrucible, names};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{ApiResource, GroupVersionKind, PartialObjectMeta};
use serde_json::{Value, json};
use std::cmp::Reverse;

/// Most that are kept of one series.
const MAX_KEPT: usize = 10;
/// Digits of the hash by which a template is named: as many as keep two templates from having one name.
const KEY_DIGITS: usize = 40;

/// What is kept, and what the pods of a service are made from: a pod template without the annotation that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) key: String,
    pub(crate) content: Value,
}

/// The certificate that pods show to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows<'a> {
    /// None: nothing is encrypted.
    Nothing,
    /// The one that replicas have anyhow.
    Own,
    /// That of a Secret of this name.
    Given(&'a str),
}

impl Template {
    pub(crate) fn new(content: Value) -> Self {
        Self { key: sha256_hex(canonical(&content))[..KEY_DIGITS].to_owned(), content }
    }

    /// What pods that are made from it show to clients.
    pub(crate) fn shows(&self) -> Shows<'_> {
        let pod = &self.content["spec"];
        let arguments = pod["containers"][0]["args"].as_array();
        if !arguments.is_some_and(|arguments| arguments.iter().any(|argument| argument == TLS_ARGUMENT)) {
            return Shows::Nothing;
        }
        let mut volumes = pod["volumes"].as_array().into_iter().flatten();
        let given = volumes.find(|volume| volume["name"] == layout::PUBLIC_CERTIFICATE_FOLDER);
        given.and_then(|given| given["secret"]["secretName"].as_str()).map_or(Shows::Own, Shows::Given)
    }

    /// The claims that its pods mount, by the volume.
    pub(crate) fn claims(&self) -> impl Iterator<Item = (&Value, &Value)> {
        let volumes = self.content["spec"]["volumes"].as_array().into_iter().flatten();
        volumes
            .map(|volume| (&volume["name"], &volume["persistentVolumeClaim"]["claimName"]))
            .filter(|(_, claim)| !claim.is_null())
    }

    /// From what was kept under a key. Nothing if that is something else.
    pub(crate) fn from_kept(kept: &Value, key: &str) -> Option<Self> {
        Some(Self::new(kept.get("template")?.clone())).filter(|template| template.key == key)
    }
}

/// Which past it is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Series {
    Template,
    Policy,
}

impl Series {
    pub(crate) const ALL: [Self; 2] = [Self::Template, Self::Policy];

    fn as_str(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Policy => "policy",
        }
    }

    /// The labels of what is kept of a resource.
    pub(crate) fn selector(self, resource: &CodeCrucible) -> String {
        let (instance, series) = (names::LABEL_INSTANCE, names::LABEL_SERIES);
        format!("{instance}={},{series}={}", resource.name_any(), self.as_str())
    }

    /// The name of the object that keeps one of the series.
    pub(crate) fn object_name(self, resource: &CodeCrucible, key: &str) -> String {
        format!("{}-{}-{key}", resource.name_any(), self.as_str())
    }
}

/// One of a series, to be kept under its key.
#[derive(Debug)]
pub(crate) struct Record {
    series: Series,
    key: String,
    /// Its place in the series; nothing where that is behind the newest.
    number: Option<i64>,
    data: Value,
}

impl Record {
    pub(crate) fn of_template(template: &Template) -> Self {
        let data = json!({"template": template.content});
        Self { series: Series::Template, key: template.key.clone(), number: None, data }
    }

    pub(crate) fn of_policy(bundle: &Bundle) -> Self {
        let revision = bundle.revision();
        let number = i64::try_from(revision.counter).unwrap_or(i64::MAX);
        let data = document::kept(bundle);
        Self { series: Series::Policy, key: revision.to_string(), number: Some(number), data }
    }
}

/// The kind of the objects.
pub(crate) fn api_resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "ControllerRevision"))
}

/// What is to be written for a service to be able to go back.
#[derive(Debug, Default)]
pub(crate) struct Chronicle {
    /// To be made, before what it tells of.
    pub(crate) record: Vec<Value>,
    /// To be deleted, once that is written.
    pub(crate) forget: Vec<Kept>,
}

/// One that is kept, as its metadata tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) series: Series,
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) made_at: Option<Timestamp>,
    number: i64,
}

impl Kept {
    /// From the metadata of an object of a resource.
    pub(crate) fn of<K>(resource: &CodeCrucible, object: &PartialObjectMeta<K>) -> Option<Self> {
        let metadata = &object.metadata;
        let label = metadata.labels.as_ref()?.get(names::LABEL_SERIES)?;
        let series = Series::ALL.into_iter().find(|series| series.as_str() == label)?;
        let number = metadata.annotations.as_ref()?.get(names::ANNOTATION_NUMBER)?.parse().ok()?;
        let (name, uid) = (metadata.name.clone()?, metadata.uid.clone()?);
        let key = name.strip_prefix(&series.object_name(resource, ""))?.to_owned();
        let made_at = metadata.creation_timestamp.as_ref().map(|time| time.0);
        Some(Self { series, key, name, uid, version: metadata.resource_version.clone()?, made_at, number })
    }
}

/// Puts those of one series in order.
pub(crate) fn newest_first(kept: &mut [Kept]) {
    kept.sort_by_key(|kept| Reverse(kept.number));
}

/// The newest policy that is kept.
pub(crate) fn newest_policy(kept: &[Kept]) -> Option<Revision> {
    let policies = kept.iter().filter(|kept| kept.series == Series::Policy);
    policies.max_by_key(|kept| kept.number)?.key.parse().ok()
}

impl Chronicle {
    /// Adds what is about to be applied, and what is to be forgotten for it: all but the newest of its series, unless one
    /// of these keys is still needed.
    pub(crate) fn keep(&mut self, resource: &CodeCrucible, kept: &[Kept], record: Record, needed: &[&str]) {
        let mut of_series: Vec<_> = kept.iter().filter(|kept| kept.series == record.series).collect();
        if of_series.iter().any(|kept| kept.key == record.key) {
            return;
        }
        of_series.sort_by_key(|kept| Reverse(kept.number));
        let next = of_series.first().map_or(1, |newest| newest.number.saturating_add(1));
        self.record.push(object(resource, record.number.unwrap_or(next), record));
        let old = of_series.into_iter().skip(MAX_KEPT - 1);
        self.forget.extend(old.filter(|kept| !needed.contains(&&*kept.key)).cloned());
    }
}

fn object(resource: &CodeCrucible, number: i64, record: Record) -> Value {
    let Record { series, key, data, .. } = record;
    let api = api_resource();
    let mut metadata = metadata(resource, &series.object_name(resource, &key));
    metadata["labels"][names::LABEL_SERIES] = series.as_str().into();
    metadata["annotations"] = json!({names::ANNOTATION_NUMBER: number.to_string()});
    json!({"apiVersion": api.api_version, "kind": api.kind, "metadata": metadata, "revision": number, "data": data})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use crate::service::validate::validate;

    fn template(image: &str) -> Template {
        Template::new(json!({"spec": {"containers": [{"image": image}]}}))
    }

    /// So many that are kept of a series, the newest last.
    fn kept(series: Series, count: i64) -> Vec<Kept> {
        let kept = |number: i64| {
            let key = format!("k{number}");
            let name = series.object_name(&fixtures::resource(json!({})), &key);
            Kept { series, key, name, uid: "u".into(), version: "1".into(), made_at: None, number }
        };
        (1..=count).map(kept).collect()
    }

    fn keep(kept: &[Kept], record: Record, needed: &[&str]) -> Chronicle {
        let mut chronicle = Chronicle::default();
        chronicle.keep(&fixtures::resource(json!({})), kept, record, needed);
        chronicle
    }

    fn keep_template(kept: &[Kept], needed: &[&str]) -> Chronicle {
        keep(kept, Record::of_template(&template("i:1")), needed)
    }

    #[test]
    fn what_is_kept_reads_back_and_nothing_else_passes_for_it() {
        let chronicle = keep_template(&[], &[]);
        let (record, template) = (&chronicle.record[0], template("i:1"));
        assert_eq!(record["metadata"]["name"], format!("demo-template-{}", template.key));
        assert_eq!(Template::from_kept(&record["data"], &template.key).as_ref(), Some(&template));
        let forged = json!({"template": {"spec": {"containers": [{"image": "evil"}]}}});
        assert_eq!(Template::from_kept(&forged, &template.key), None);
    }

    #[test]
    fn a_policy_is_kept_under_its_revision() {
        let Ok(validated) = validate(&fixtures::resource(json!({})), &fixtures::observed()) else {
            panic!("it is not valid")
        };
        let revision = validated.bundle.revision().to_string();
        let record = keep(&[], Record::of_policy(&validated.bundle), &[]).record.remove(0);
        assert_eq!(record["metadata"]["name"], format!("demo-policy-{revision}"));
        assert_eq!(document::from_kept(&record["data"], &revision), Some(validated.bundle));
        assert_eq!(document::from_kept(&record["data"], "2-0123456789ab"), None);
    }

    #[test]
    fn a_record_tells_its_place_in_the_series() {
        let record = keep_template(&kept(Series::Template, 3), &[]).record.remove(0);
        let mut object: PartialObjectMeta<()> = serde_json::from_value(record).unwrap();
        (object.metadata.uid, object.metadata.resource_version) = (Some("u".into()), Some("1".into()));
        let kept = Kept::of(&fixtures::resource(json!({})), &object).unwrap();
        assert_eq!((kept.number, kept.key), (4, template("i:1").key));
    }

    #[test]
    fn the_newest_policy_is_the_one_with_the_highest_counter() {
        let mut kept = [kept(Series::Policy, 11), kept(Series::Template, 20)].concat();
        kept[9].key = "10-0123456789ab".into();
        kept[10].key = "11-0123456789ab".into();
        assert_eq!(newest_policy(&kept).unwrap().counter, 11);
        assert_eq!(newest_policy(&[]), None);
    }

    #[test]
    fn what_is_kept_already_is_not_written_again() {
        let mut kept = kept(Series::Template, 20);
        kept[3].key = template("i:1").key;
        let chronicle = keep_template(&kept, &[]);
        assert!(chronicle.record.is_empty() && chronicle.forget.is_empty());
    }

    #[test]
    fn the_ten_newest_of_a_series_stay_and_those_that_are_needed() {
        let templates = |count| [kept(Series::Policy, 30), kept(Series::Template, count)].concat();
        assert!(keep_template(&templates(9), &[]).forget.is_empty());
        let names =
            |chronicle: Chronicle| -> Vec<_> { chronicle.forget.into_iter().map(|kept| kept.name).collect() };
        assert_eq!(names(keep_template(&templates(11), &[])), ["demo-template-k2", "demo-template-k1"]);
        assert_eq!(names(keep_template(&templates(11), &["k1"])), ["demo-template-k2"]);
    }
}
