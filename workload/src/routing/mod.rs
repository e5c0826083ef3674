//! Where a model's name leads: to one backend, or to several that are asked in an order.

mod affinity;
mod order;

pub use affinity::Affinity;
pub use order::{Order, in_order_of_trial};

use crate::backend::Backend;
use std::collections::HashMap;
use std::sync::Arc;

/// One backend that serves a model.
#[derive(Clone)]
pub struct Target {
    /// The name that the backend uses for the model.
    pub backend_model: String,
    /// Who answers.
    pub backend: Arc<Backend>,
    /// Those of the lowest number are asked first.
    pub priority: u16,
    /// Its share among those of the same priority.
    pub weight: u16,
}

/// Where one public model name leads.
pub struct Route {
    /// The name that clients use.
    pub public_model: String,
    /// Who serves it: those of the lowest priority's number first, and in the policy's order among them. At least one.
    pub targets: Vec<Target>,
}

/// All routes of a policy.
pub struct Routes {
    in_order: Vec<Route>,
    by_model: HashMap<String, usize>,
}

impl Routes {
    /// From each backend's models by their public names, in the policy's order.
    pub fn new(models: impl IntoIterator<Item = (String, Target)>) -> Self {
        let mut routes = Self { in_order: Vec::new(), by_model: HashMap::new() };
        for (public_model, target) in models {
            if let Some(&index) = routes.by_model.get(&public_model) {
                routes.in_order[index].targets.push(target);
            } else {
                routes.by_model.insert(public_model.clone(), routes.in_order.len());
                routes.in_order.push(Route { public_model, targets: vec![target] });
            }
        }
        for route in &mut routes.in_order {
            route.targets.sort_by_key(|target| target.priority);
        }
        routes
    }

    /// Where a model name leads.
    pub fn of_model(&self, model: &str) -> Option<&Route> {
        self.by_model.get(model).map(|&index| &self.in_order[index])
    }

    /// Where a request leads that names no model.
    pub fn default(&self) -> Option<&Route> {
        self.in_order.first()
    }

    /// Every route, in the policy's order.
    pub fn all(&self) -> &[Route] {
        &self.in_order
    }
}
