//! From an `AccessPolicy` to rules in Cedar. Pure.

use super::roles::{Roles, invalid};
use codecrucible_contract::{
    AccessDocument, AccessRule, Enforcement, Invalid, MAX_ACCESS_DOCUMENT_BYTES, MAX_ACCESS_RULES, entity,
};
use codecrucible_crds::{
    AccessAction, AccessBinding, AccessConditions, AccessEnforcement, AccessHours, AccessPermission,
    AccessPolicy, AccessSubject, AccessSubjectKind,
};
use kube::ResourceExt as _;
use std::fmt::Write as _;
use std::net::IpAddr;

/// The document that a policy comes to, or what is wrong with it, with the path in the resource.
pub(crate) fn compile(policy: &AccessPolicy) -> Result<AccessDocument, Invalid> {
    let roles = Roles::new(&policy.spec.roles)?;
    let mut rules = Vec::new();
    for (index, binding) in policy.spec.bindings.iter().enumerate() {
        let path = format!("bindings[{index}]");
        rules.extend(granted(&path, binding, &roles, &policy.namespace().unwrap_or_default())?);
        let bytes: usize = rules.iter().map(|rule| rule.cedar.len()).sum();
        if rules.len() > MAX_ACCESS_RULES || bytes > MAX_ACCESS_DOCUMENT_BYTES {
            return Err(invalid(
                "spec.bindings".into(),
                format!(
                    "each subject and permission is a rule, and there are more than {MAX_ACCESS_RULES}, or of more than \
                     {MAX_ACCESS_DOCUMENT_BYTES} bytes together; name namespaces instead of single clients, or make another \
                     AccessPolicy"
                ),
            ));
        }
    }
    let statements = policy.spec.statements.iter().enumerate();
    rules.extend(
        statements
            .map(|(index, cedar)| AccessRule { id: format!("statements[{index}]"), cedar: cedar.clone() }),
    );
    let enforcement = match policy.spec.enforcement {
        AccessEnforcement::Enforce => Enforcement::Enforce,
        AccessEnforcement::Shadow => Enforcement::Shadow,
    };
    let document = AccessDocument { name: policy.name_any(), enforcement, rules };
    document.validate().map_err(|found| in_resource(found, &document))?;
    Ok(document)
}

/// Says where in the resource a rule comes from.
fn in_resource(found: Invalid, document: &AccessDocument) -> Invalid {
    let index = found.path.strip_prefix("rules[").and_then(|rest| rest.split_once(']'));
    let rule = index.and_then(|(index, _)| document.rules.get(index.parse::<usize>().ok()?));
    let path = rule.map_or_else(|| "spec".to_owned(), |rule| format!("spec.{}", rule.id));
    Invalid { path, ..found }
}

/// The rules of a binding: one for each subject and permission.
fn granted(
    path: &str,
    binding: &AccessBinding,
    roles: &Roles<'_>,
    namespace: &str,
) -> Result<Vec<AccessRule>, Invalid> {
    let permissions = roles.permissions(&binding.role).ok_or_else(|| {
        let problem = format!("there is no role {:?} in this policy", binding.role);
        invalid(format!("spec.{path}.role"), problem)
    })?;
    let conditions = conditions(&format!("spec.{path}.conditions"), &binding.conditions)?;
    if binding.subjects.len() * permissions.len() > MAX_ACCESS_RULES {
        let problem =
            format!("each subject and permission is a rule, and there are more than {MAX_ACCESS_RULES}");
        return Err(invalid("spec.bindings".into(), problem));
    }
    let mut rules = Vec::new();
    for (index, subject) in binding.subjects.iter().enumerate() {
        let path = format!("{path}.subjects[{index}]");
        let principal = principal(&format!("spec.{path}"), subject, namespace)?;
        for (number, permission) in permissions.iter().enumerate() {
            let cedar = rule(&principal, permission, &conditions);
            rules.push(AccessRule { id: format!("{path}/{number}"), cedar });
        }
    }
    Ok(rules)
}

fn rule(principal: &str, permission: &AccessPermission, conditions: &str) -> String {
    let actions: Vec<_> =
        permission.actions.iter().map(|action| literal("Action", action_name(*action))).collect();
    let mut cedar = format!("permit ({principal}, action in [{}], resource)", actions.join(", "));
    if !permission.models.is_empty() {
        let models: Vec<_> = permission.models.iter().map(|model| literal("Model", model)).collect();
        let _ = write!(cedar, " when {{ [{}].contains(resource) }}", models.join(", "));
    }
    cedar.push_str(conditions);
    cedar.push(';');
    cedar
}

fn action_name(action: AccessAction) -> &'static str {
    match action {
        AccessAction::ListModels => "listModels",
        AccessAction::Complete => "complete",
        AccessAction::Synthesize => "synthesize",
    }
}

/// Who a subject is, as the scope of a rule.
fn principal(path: &str, subject: &AccessSubject, own_namespace: &str) -> Result<String, Invalid> {
    let name = || {
        let missing = || invalid(format!("{path}.name"), "is required".into());
        subject.name.as_deref().ok_or_else(missing)
    };
    // A dot would make another client of it.
    let plain_name = || {
        let dotted = || invalid(format!("{path}.name"), "must not have a dot".into());
        name().and_then(|name| if name.contains('.') { Err(dotted()) } else { Ok(name) })
    };
    Ok(match subject.kind {
        AccessSubjectKind::Everyone => "principal".into(),
        AccessSubjectKind::Namespace => format!("principal in {}", literal("Namespace", plain_name()?)),
        AccessSubjectKind::CodeCrucible => format!("principal == {}", literal("Client", plain_name()?)),
        AccessSubjectKind::SynthesisClient => {
            let namespace = subject.namespace.as_deref().unwrap_or(own_namespace);
            format!("principal == {}", literal("Client", &format!("{namespace}.{}", name()?)))
        }
    })
}

fn literal(type_name: &str, id: &str) -> String {
    // All types are of the schema, so there is one.
    entity(type_name, id).map_or_else(String::new, |entity| entity.to_string())
}

fn conditions(path: &str, conditions: &AccessConditions) -> Result<String, Invalid> {
    let AccessConditions { addresses, max_token_age, hours } = conditions;
    let mut text = String::new();
    if !addresses.is_empty() {
        let mut ranges = Vec::new();
        for (index, address) in addresses.iter().enumerate() {
            let range = range(address).ok_or_else(|| {
                let problem =
                    format!("{address:?} is not an address or a range of them, such as 10.1.0.0/16");
                invalid(format!("{path}.addresses[{index}]"), problem)
            })?;
            ranges.push(format!("context.address.isInRange(ip(\"{range}\"))"));
        }
        let _ = write!(text, " when {{ {} }}", ranges.join(" || "));
    }
    if let Some(age) = max_token_age {
        let problem =
            || invalid(format!("{path}.maxTokenAge"), "is not a number and a unit, such as 5m".into());
        let milliseconds = age.get().map_err(|_| problem())?.as_millis();
        let _ = write!(text, " when {{ context.tokenAge <= duration(\"{milliseconds}ms\") }}");
    }
    if let Some(AccessHours { from, to }) = hours {
        let minutes = |field: &str, time: &str| {
            let problem =
                || invalid(format!("{path}.hours.{field}"), "is not a time of day, such as 08:00".into());
            minutes_of_day(time).ok_or_else(problem)
        };
        let (begin, end) = (minutes("from", from)?, minutes("to", to)?);
        let join = if begin < end { "&&" } else { "||" };
        let time = "context.now.toTime()";
        let _ =
            write!(text, " when {{ {time} >= duration(\"{begin}m\") {join} {time} < duration(\"{end}m\") }}");
    }
    Ok(text)
}

/// A range as it was written, if it is one.
fn range(text: &str) -> Option<String> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    match bits {
        None => Some(address.to_string()),
        Some(bits) => {
            bits.parse::<u8>().ok().filter(|bits| *bits <= most).map(|bits| format!("{address}/{bits}"))
        }
    }
}

fn minutes_of_day(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn policy(spec: Value) -> AccessPolicy {
        let mut policy = AccessPolicy::new("team", serde_json::from_value(spec).unwrap());
        policy.metadata.namespace = Some("models".into());
        policy
    }

    fn bound(subject: Value, conditions: Value) -> Value {
        json!({
            "roles": [{"name": "user", "permissions": [{"actions": ["Complete", "ListModels"], "models": ["coder"]}]}],
            "bindings": [{"role": "user", "subjects": [subject], "conditions": conditions}],
        })
    }

    fn only_rule(spec: Value) -> String {
        let mut rules = compile(&policy(spec)).unwrap().rules;
        assert_eq!(rules.len(), 1);
        rules.remove(0).cedar
    }

    fn problem(spec: Value) -> String {
        compile(&policy(spec)).unwrap_err().to_string()
    }

    #[test]
    fn a_binding_becomes_a_rule_for_each_kind_of_subject() {
        let rule = |subject| only_rule(bound(subject, json!({})));
        assert_eq!(
            rule(json!({"kind": "SynthesisClient", "name": "shop", "namespace": "apps"})),
            "permit (principal == Client::\"apps.shop\", action in [Action::\"complete\", Action::\"listModels\"], resource) \
             when { [Model::\"coder\"].contains(resource) };"
        );
        assert!(rule(json!({"kind": "SynthesisClient", "name": "shop"})).contains("Client::\"models.shop\""));
        assert!(
            rule(json!({"kind": "Namespace", "name": "apps"})).contains("principal in Namespace::\"apps\"")
        );
        assert!(
            rule(json!({"kind": "CodeCrucible", "name": "demo"})).contains("principal == Client::\"demo\"")
        );
        assert!(rule(json!({"kind": "Everyone"})).starts_with("permit (principal, "));
    }

    #[test]
    fn conditions_are_checked_and_become_clauses() {
        let everyone = || json!({"kind": "Everyone"});
        let rule = |conditions| only_rule(bound(everyone(), conditions));
        let all = rule(
            json!({"addresses": ["10.0.0.0/8", "fd00::1"], "maxTokenAge": "5m", "hours": {"from": "08:00", "to": "18:30"}}),
        );
        assert!(
            all.contains("isInRange(ip(\"10.0.0.0/8\")) || context.address.isInRange(ip(\"fd00::1\"))"),
            "{all}"
        );
        assert!(all.contains("context.tokenAge <= duration(\"300000ms\")"), "{all}");
        assert!(all.contains(">= duration(\"480m\") && context.now.toTime() < duration(\"1110m\")"), "{all}");
        assert!(rule(json!({"hours": {"from": "22:00", "to": "06:00"}})).contains("||"), "over midnight");
        let refused = |conditions| problem(bound(everyone(), conditions));
        assert!(
            refused(json!({"addresses": ["::", "10.0.0.0/33"]}))
                .starts_with("spec.bindings[0].conditions.addresses[1]")
        );
        assert!(
            refused(json!({"hours": {"from": "08:00", "to": "24:00"}}))
                .starts_with("spec.bindings[0].conditions.hours.to")
        );
        assert!(
            refused(json!({"maxTokenAge": "soon"})).starts_with("spec.bindings[0].conditions.maxTokenAge")
        );
    }

    #[test]
    fn what_is_wrong_is_told_at_its_path() {
        assert!(
            problem(json!({"bindings": [{"role": "x", "subjects": [{"kind": "Everyone"}]}]}))
                .starts_with("spec.bindings[0].role: there is no role \"x\"")
        );
        let dotted = bound(json!({"kind": "CodeCrucible", "name": "apps.shop"}), json!({}));
        assert_eq!(problem(dotted), "spec.bindings[0].subjects[0].name: must not have a dot");
        let statements = json!([
            "permit (principal, action, resource);",
            "permit (principal, action, resource) when { context.x };"
        ]);
        let told = problem(json!({ "statements": statements }));
        assert!(told.starts_with("spec.statements[1]: "), "{told}");
    }

    #[test]
    fn no_name_of_a_model_breaks_out_of_its_rule() {
        let mut spec = bound(json!({"kind": "Everyone"}), json!({}));
        spec["roles"][0]["permissions"][0]["models"] =
            json!(["a\"].contains(resource) || true } ; permit(principal, action, resource);//"]);
        assert_eq!(only_rule(spec).matches("when").count(), 1);
    }

    #[test]
    fn more_rules_than_a_replica_takes_are_refused() {
        let subjects: Vec<_> =
            (0..64).map(|number| json!({"kind": "Namespace", "name": format!("n{number}")})).collect();
        let permissions: Vec<_> = (0..32)
            .map(|number| json!({"actions": ["Complete"], "models": [format!("m{number}")]}))
            .collect();
        let spec = json!({"roles": [{"name": "user", "permissions": permissions}], "bindings": [{"role": "user", "subjects": subjects}]});
        assert!(problem(spec).starts_with("spec.bindings: each subject and permission is a rule"));
    }
}
