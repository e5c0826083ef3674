//! Where a model's name leads: to one backend, or to several that are asked in an order.

mod affinity;
mod automatic;
mod order;
mod public_model;

pub use affinity::Affinity;
pub use automatic::{Choice, Effort, Features, Judged};
pub use order::{Order, in_order_of_trial};
pub use public_model::PublicModel;

use crate::backend::Backend;
use codecrucible_contract::{Automatic, Task, Tier};
use std::collections::HashMap;
use std::sync::Arc;

/// One backend that serves a model.
#[derive(Clone)]
pub struct Target {
    /// The model as clients know it.
    pub public_model: Arc<PublicModel>,
    /// The name that the backend uses for it.
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
    /// The model as clients know it.
    pub public_model: Arc<PublicModel>,
    /// Who serves it: those of the lowest priority's number first, and in the policy's order among them. At least one.
    pub targets: Vec<Target>,
    /// What is said of the model.
    pub talent: Talent,
}

/// What is said of a model beside where it is served.
#[derive(Clone, Debug, Default)]
pub struct Talent {
    /// What it is good at.
    pub tier: Option<Tier>,
    /// The kinds of work that it is for; all if there is none.
    pub tasks: Vec<Task>,
}

/// All routes of a policy.
pub struct Routes {
    in_order: Vec<Route>,
    automatic: Option<Automatic>,
    by_model: HashMap<String, usize>,
}

impl Routes {
    /// From each backend's models, in the policy's order; and the name that leads to one of them by what is asked.
    pub fn new(models: impl IntoIterator<Item = (Target, Talent)>, automatic: Option<Automatic>) -> Self {
        let (mut in_order, mut by_model) = (Vec::<Route>::new(), HashMap::new());
        for (target, talent) in models {
            let index = *by_model.entry(target.public_model.name().to_owned()).or_insert_with(|| {
                let public_model = Arc::clone(&target.public_model);
                in_order.push(Route { public_model, targets: Vec::new(), talent });
                in_order.len() - 1
            });
            let route = &mut in_order[index];
            // All who serve it serve the same.
            route.targets.push(Target { public_model: Arc::clone(&route.public_model), ..target });
        }
        for route in &mut in_order {
            route.targets.sort_by_key(|target| target.priority);
        }
        Self { in_order, automatic, by_model }
    }

    /// The name that leads to the model that suits a request, if there is one.
    pub fn automatic(&self) -> Option<&str> {
        Some(&self.automatic.as_ref()?.model)
    }

    /// The model that suits a request, of those that may be asked.
    pub fn choose(
        &self,
        judged: Judged,
        is_streamed: bool,
        may_be_asked: impl Fn(&Route) -> bool,
    ) -> Option<Choice<'_>> {
        let automatic = self.automatic.as_ref()?;
        automatic::choose(automatic, &self.in_order, judged, is_streamed, may_be_asked)
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
