//! What each role comes to, with all that it inherits. Pure.

use codecrucible_contract::Invalid;
use codecrucible_crds::{AccessPermission, AccessRole};
use std::collections::{BTreeMap, BTreeSet};

/// The roles of one policy: all that they name exists, and none inherits itself.
pub(super) struct Roles<'a>(BTreeMap<&'a str, &'a AccessRole>);

impl<'a> Roles<'a> {
    pub(super) fn new(roles: &'a [AccessRole]) -> Result<Self, Invalid> {
        let mut known = BTreeMap::new();
        for (index, role) in roles.iter().enumerate() {
            if known.insert(&*role.name, role).is_some() {
                return Err(invalid(
                    format!("spec.roles[{index}].name"),
                    format!("{:?} occurs twice", role.name),
                ));
            }
        }
        for (index, role) in roles.iter().enumerate() {
            for (place, inherited) in role.inherits.iter().enumerate() {
                if !known.contains_key(&**inherited) {
                    let path = format!("spec.roles[{index}].inherits[{place}]");
                    return Err(invalid(path, format!("there is no role {inherited:?} in this policy")));
                }
            }
        }
        let roles_by_name = Self(known);
        for (index, role) in roles.iter().enumerate() {
            if let Some(way) = roles_by_name.way_back_to(&role.name) {
                let path = format!("spec.roles[{index}].inherits");
                return Err(invalid(path, format!("the roles {} inherit themselves", way.join(" → "))));
            }
        }
        Ok(roles_by_name)
    }

    /// What a role permits, its own first; nothing if there is no such role.
    pub(super) fn permissions(&self, name: &str) -> Option<Vec<&'a AccessPermission>> {
        let mut permissions: Vec<&AccessPermission> = Vec::new();
        let (mut seen, mut next) = (BTreeSet::new(), vec![self.0.get_key_value(name)?]);
        while let Some((name, role)) = next.pop() {
            if seen.insert(*name) {
                permissions.extend(&role.permissions);
                next.extend(role.inherits.iter().filter_map(|inherited| self.0.get_key_value(&**inherited)));
            }
        }
        let mut once: Vec<&AccessPermission> = Vec::new();
        permissions.into_iter().for_each(|one| {
            if !once.contains(&one) {
                once.push(one);
            }
        });
        Some(once)
    }

    /// The way by which a role inherits itself, if it does.
    fn way_back_to(&self, name: &'a str) -> Option<Vec<&'a str>> {
        let (mut seen, mut ways) = (BTreeSet::new(), vec![vec![name]]);
        while let Some(way) = ways.pop() {
            let role = self.0.get(way.last()?)?;
            for inherited in &role.inherits {
                let longer: Vec<_> = way.iter().copied().chain([&**inherited]).collect();
                if inherited == name {
                    return Some(longer);
                }
                if seen.insert(&**inherited) {
                    ways.push(longer);
                }
            }
        }
        None
    }
}

pub(super) fn invalid(path: String, problem: String) -> Invalid {
    Invalid { path, problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecrucible_crds::AccessAction;

    fn role(name: &str, inherits: &[&str], models: &[&str]) -> AccessRole {
        let models = models.iter().map(|&model| model.to_owned()).collect();
        AccessRole {
            name: name.into(),
            inherits: inherits.iter().map(|&role| role.to_owned()).collect(),
            permissions: vec![AccessPermission { actions: vec![AccessAction::Complete], models }],
        }
    }

    fn refusal(roles: &[AccessRole]) -> String {
        Roles::new(roles).err().map_or_else(String::new, |invalid| invalid.to_string())
    }

    #[test]
    fn a_role_has_what_it_inherits_over_any_number_of_steps_and_ways_once() {
        let roles = [
            role("top", &["left", "right"], &["t"]),
            role("left", &["base"], &["l"]),
            role("right", &["base"], &["r"]),
            role("base", &[], &["b"]),
        ];
        let roles = Roles::new(&roles).unwrap_or_else(|invalid| panic!("{invalid}"));
        let models = |name| {
            let permissions = roles.permissions(name).unwrap();
            let mut models: Vec<_> = permissions.iter().map(|permission| &*permission.models[0]).collect();
            models.sort_unstable();
            models
        };
        assert_eq!(models("top"), ["b", "l", "r", "t"]);
        assert_eq!(models("left"), ["b", "l"]);
        assert!(roles.permissions("absent").is_none());
    }

    #[test]
    fn a_cycle_is_told_with_its_way() {
        let cycle = [role("a", &["b"], &[]), role("b", &["c"], &[]), role("c", &["a"], &[])];
        assert_eq!(refusal(&cycle), "spec.roles[0].inherits: the roles a → b → c → a inherit themselves");
        assert!(refusal(&[role("a", &["a"], &[])]).contains("a → a"));
        let behind = [role("outside", &["a"], &[]), role("a", &["a"], &[])];
        assert!(refusal(&behind).starts_with("spec.roles[1].inherits"));
    }

    #[test]
    fn what_a_role_inherits_must_exist_and_names_are_unique() {
        assert_eq!(
            refusal(&[role("a", &["b"], &[])]),
            "spec.roles[0].inherits[0]: there is no role \"b\" in this policy"
        );
        assert!(refusal(&[role("a", &[], &[]), role("a", &[], &[])]).starts_with("spec.roles[1].name"));
    }
}
