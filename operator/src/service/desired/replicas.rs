//! How many replicas there are to be, and who decides that.
//!
//! An autoscaler writes the deployment's `spec.replicas`, so the operator must not. But whoever alone applied a field and
//! then leaves it out has it removed, and the API server puts 1 in its place: before that, the field is handed over.

use codecrucible_crds::CodeCrucible;
use kube::api::DynamicObject;

/// How many replicas the deployment is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replicas {
    /// So many.
    Exactly(i32),
    /// As many as it says already.
    AsTheyAre,
}

impl Replicas {
    /// From what the resource wants, and what there is.
    pub(crate) fn of(resource: &CodeCrucible, deployment: Option<&DynamicObject>) -> Self {
        let spec = &resource.spec;
        match &spec.autoscaling {
            _ if spec.maintenance.hibernate => Self::Exactly(0),
            None => Self::Exactly(spec.replicas),
            // An autoscaler leaves alone what has no replica.
            Some(autoscaling) if live(deployment).unwrap_or(0) == 0 => {
                Self::Exactly(autoscaling.min_replicas)
            }
            Some(_) => Self::AsTheyAre,
        }
    }
}

/// How many replicas a deployment says.
pub(crate) fn live(deployment: Option<&DynamicObject>) -> Option<i32> {
    let replicas = deployment?.data.get("spec")?.get("replicas")?.as_i64()?;
    i32::try_from(replicas).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use serde_json::{Value, json};

    fn replicas(spec: Value, live: Option<i32>) -> Replicas {
        let deployment = live.map(|replicas| {
            let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "demo"}, "spec": {"replicas": replicas}});
            serde_json::from_value(object).unwrap()
        });
        Replicas::of(&fixtures::resource(spec), deployment.as_ref())
    }

    #[test]
    fn without_an_autoscaler_the_resource_decides() {
        assert_eq!(replicas(json!({"replicas": 2}), Some(7)), Replicas::Exactly(2));
    }

    #[test]
    fn an_autoscaler_decides_once_there_is_something_to_scale() {
        let spec = json!({"replicas": 2, "autoscaling": {"minReplicas": 4}});
        assert_eq!(replicas(spec.clone(), None), Replicas::Exactly(4));
        assert_eq!(replicas(spec.clone(), Some(0)), Replicas::Exactly(4), "it wakes up");
        assert_eq!(replicas(spec, Some(7)), Replicas::AsTheyAre);
    }

    #[test]
    fn a_service_that_hibernates_has_none() {
        let spec = json!({"autoscaling": {}, "maintenance": {"hibernate": true}});
        assert_eq!(replicas(spec, Some(7)), Replicas::Exactly(0));
    }
}
