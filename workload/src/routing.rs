//! Where a model's name leads.

use crate::backend::Backend;
use std::collections::HashMap;
use std::sync::Arc;

/// Where one public model name leads.
pub struct Route {
    /// The name that clients use.
    pub public_model: String,
    /// The name that the backend uses.
    pub backend_model: String,
    /// Who answers.
    pub backend: Arc<Backend>,
}

/// All routes of a policy.
pub struct Routes {
    in_order: Vec<Route>,
    by_model: HashMap<String, usize>,
}

impl Routes {
    /// Routes in the policy's order; a public name occurs once, which the policy's rules see to.
    pub fn new(in_order: Vec<Route>) -> Self {
        let names = in_order.iter().enumerate().map(|(index, route)| (route.public_model.clone(), index));
        Self { by_model: names.collect(), in_order }
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
