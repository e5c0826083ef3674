//! What a service was: each pod template that it was rolled out with is kept in an object of its own, so that it can go
//! back to one. The object's name is the address of its content, which nobody can change: the API server refuses it,
//! and what is read is checked against the name.

use super::desired::metadata::metadata;
use codecrucible_contract::{canonical, sha256_hex};
use codecrucible_crds::{CodeCrucible, names};
use kube::ResourceExt as _;
use kube::api::{ApiResource, GroupVersionKind, PartialObjectMeta};
use serde_json::{Value, json};

/// Most that are kept of one series.
const MAX_KEPT: usize = 10;
/// Digits of the hash by which a template is named.
const KEY_DIGITS: usize = 12;

/// What is kept, and what the pods of a service are made from: a pod template without the annotation that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) key: String,
    pub(crate) content: Value,
}

impl Template {
    pub(crate) fn new(content: Value) -> Self {
        Self { key: sha256_hex(canonical(&content))[..KEY_DIGITS].to_owned(), content }
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
}

impl Series {
    fn as_str(self) -> &'static str {
        match self {
            Self::Template => "template",
        }
    }

    /// The name of the object that keeps one of the series.
    pub(crate) fn object_name(self, resource: &CodeCrucible, key: &str) -> String {
        format!("{}-{}-{key}", resource.name_any(), self.as_str())
    }
}

/// The kind of the objects.
pub(crate) fn api_resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "ControllerRevision"))
}

/// The labels of all that is kept of a resource.
pub(crate) fn selector(resource: &CodeCrucible) -> String {
    format!("{}={},{}", names::LABEL_INSTANCE, resource.name_any(), names::LABEL_SERIES)
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
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) version: String,
    number: i64,
}

impl Kept {
    /// From an object's metadata.
    pub(crate) fn of<K>(object: &PartialObjectMeta<K>) -> Option<Self> {
        let metadata = &object.metadata;
        let number = metadata.annotations.as_ref()?.get(names::ANNOTATION_NUMBER)?.parse().ok()?;
        let (uid, version) = (metadata.uid.clone()?, metadata.resource_version.clone()?);
        Some(Self { name: metadata.name.clone()?, uid, version, number })
    }
}

/// What to record of a template that is about to be rolled out, and what to forget for it: all but the newest, unless
/// one of these keys is still needed.
pub(crate) fn keep_template(
    resource: &CodeCrucible,
    kept: &[Kept],
    template: &Template,
    needed: &[&str],
) -> Chronicle {
    let name = |key: &str| Series::Template.object_name(resource, key);
    if kept.iter().any(|kept| kept.name == name(&template.key)) {
        return Chronicle::default();
    }
    let number = kept.iter().map(|kept| kept.number).max().unwrap_or(0).saturating_add(1);
    let record =
        object(resource, Series::Template, &template.key, number, json!({"template": template.content}));
    let needed: Vec<String> = needed.iter().map(|key| name(key)).collect();
    Chronicle { record: vec![record], forget: superfluous(kept, &needed) }
}

fn object(resource: &CodeCrucible, series: Series, key: &str, number: i64, data: Value) -> Value {
    let api = api_resource();
    let mut metadata = metadata(resource, &series.object_name(resource, key));
    metadata["labels"][names::LABEL_SERIES] = series.as_str().into();
    metadata["annotations"] = json!({names::ANNOTATION_NUMBER: number.to_string()});
    json!({"apiVersion": api.api_version, "kind": api.kind, "metadata": metadata, "revision": number, "data": data})
}

/// Those that must go for one more to come.
fn superfluous(kept: &[Kept], needed: &[String]) -> Vec<Kept> {
    let mut by_age: Vec<_> = kept.iter().collect();
    by_age.sort_by_key(|kept| std::cmp::Reverse(kept.number));
    let old = by_age.into_iter().skip(MAX_KEPT - 1);
    old.filter(|kept| !needed.contains(&kept.name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::validate::tests as fixtures;

    fn template(image: &str) -> Template {
        Template::new(json!({"spec": {"containers": [{"image": image}]}}))
    }

    /// So many kept templates, the newest last.
    fn kept(count: i64) -> Vec<Kept> {
        let kept = |number: i64| {
            let name = Series::Template.object_name(&fixtures::resource(json!({})), &format!("k{number}"));
            Kept { name, uid: "u".into(), version: "1".into(), number }
        };
        (1..=count).map(kept).collect()
    }

    fn keep(kept: &[Kept], needed: &[&str]) -> Chronicle {
        keep_template(&fixtures::resource(json!({})), kept, &template("i:1"), needed)
    }

    #[test]
    fn what_is_kept_reads_back_and_nothing_else_passes_for_it() {
        let chronicle = keep(&[], &[]);
        let (record, template) = (&chronicle.record[0], template("i:1"));
        assert_eq!(record["metadata"]["name"], format!("demo-template-{}", template.key));
        assert_eq!(Template::from_kept(&record["data"], &template.key).as_ref(), Some(&template));
        let forged = json!({"template": {"spec": {"containers": [{"image": "evil"}]}}});
        assert_eq!(Template::from_kept(&forged, &template.key), None);
    }

    #[test]
    fn a_record_tells_its_place_in_the_series() {
        let record = keep(&kept(3), &[]).record.remove(0);
        let mut object: PartialObjectMeta<()> = serde_json::from_value(record).unwrap();
        (object.metadata.uid, object.metadata.resource_version) = (Some("u".into()), Some("1".into()));
        assert_eq!(Kept::of(&object).unwrap().number, 4);
    }

    #[test]
    fn what_is_kept_already_is_not_written_again() {
        let mut kept = kept(20);
        kept[3].name = Series::Template.object_name(&fixtures::resource(json!({})), &template("i:1").key);
        let chronicle = keep(&kept, &[]);
        assert!(chronicle.record.is_empty() && chronicle.forget.is_empty());
    }

    #[test]
    fn the_ten_newest_stay_and_those_that_are_needed() {
        assert!(keep(&kept(9), &[]).forget.is_empty());
        let names =
            |chronicle: Chronicle| -> Vec<_> { chronicle.forget.into_iter().map(|kept| kept.name).collect() };
        assert_eq!(names(keep(&kept(11), &[])), ["demo-template-k2", "demo-template-k1"]);
        assert_eq!(names(keep(&kept(11), &["k1"])), ["demo-template-k2"]);
    }
}
