//! Who may do what: rules in Cedar, in documents of one author each, checked against one schema.
//!
//! Where a policy has documents, whatever no rule permits is denied, and what one rule forbids is denied whatever the others
//! say. A document in `Shadow` is only compared with that.

mod depth;
mod found_right;

use crate::hash::sha256_hex;
use crate::validate::{Checked, Invalid, check, name};
use cedar_policy::{
    EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode,
    ValidationWarning, Validator,
};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;
use std::sync::LazyLock;

/// The schema of all rules, in Cedar's own notation.
pub const ACCESS_SCHEMA: &str = include_str!("schema.cedarschema");
/// Most documents of one policy.
pub const MAX_ACCESS_DOCUMENTS: usize = 64;
/// Most rules of one document.
pub const MAX_ACCESS_RULES: usize = 1_000;
/// Most that the rules of one document come to, bytes.
pub const MAX_ACCESS_DOCUMENT_BYTES: usize = 256 * 1024;
/// Most that those of all documents come to, bytes: reading and checking them takes its time.
pub const MAX_ACCESS_BYTES: usize = 512 * 1024;
/// Longest rule, bytes.
pub const MAX_ACCESS_RULE_BYTES: usize = 8 * 1024;
/// Most of what Cedar says of a rule that is passed on, characters.
const MAX_PROBLEM_CHARACTERS: usize = 300;

/// Who may do what at a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Access {
    /// The service's namespace, to which the client belongs that is made for it.
    pub namespace: String,
    /// The documents, by unique names.
    pub documents: Vec<AccessDocument>,
}

/// The rules of one author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessDocument {
    /// Unique name.
    pub name: String,
    /// What comes of its rules.
    pub enforcement: Enforcement,
    /// The rules.
    pub rules: Vec<AccessRule>,
}

/// What comes of a document's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Enforcement {
    /// They decide.
    Enforce,
    /// It is told where they would decide otherwise.
    Shadow,
}

/// One Cedar policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessRule {
    /// Where it comes from: unique in its document.
    pub id: String,
    /// Its text.
    pub cedar: String,
}

static SCHEMA: LazyLock<Option<Schema>> =
    LazyLock::new(|| Schema::from_cedarschema_str(ACCESS_SCHEMA).ok().map(|(schema, _)| schema));

/// The schema of all rules.
pub fn access_schema() -> Option<&'static Schema> {
    SCHEMA.as_ref()
}

/// The types of the schema, which to parse takes longer than to decide.
static TYPE_NAMES: LazyLock<HashMap<&str, EntityTypeName>> = LazyLock::new(|| {
    let parsed = |name| Some((name, EntityTypeName::from_str(name).ok()?));
    ["Client", "Namespace", "Model", "Backend", "Action"].into_iter().filter_map(parsed).collect()
});

/// An entity as it stands in a rule, such as `Model::"coder"`, whatever characters are in its identifier. Nothing for a type
/// that has no name in Cedar.
pub fn entity(type_name: &str, id: &str) -> Option<EntityUid> {
    let type_name = match TYPE_NAMES.get(type_name) {
        Some(known) => known.clone(),
        None => EntityTypeName::from_str(type_name).ok()?,
    };
    Some(EntityUid::from_type_name_and_id(type_name, EntityId::new(id)))
}

impl Access {
    /// Whether a rule may depend on more than who asks for what: one without this word does not.
    pub fn looks_at_circumstances(&self) -> bool {
        let mut rules = self.documents.iter().flat_map(|document| &document.rules);
        rules.any(|rule| rule.cedar.contains("context"))
    }

    /// Checks every rule.
    pub(crate) fn validate(&self) -> Checked {
        name("access.namespace", &self.namespace)?;
        check(self.documents.len() <= MAX_ACCESS_DOCUMENTS, "access.documents", || {
            format!("has {} entries, more than {MAX_ACCESS_DOCUMENTS}", self.documents.len())
        })?;
        let bytes: usize = self.documents.iter().map(AccessDocument::bytes).sum();
        check(bytes <= MAX_ACCESS_BYTES, "access.documents", || {
            format!("come to {bytes} bytes of rules, more than {MAX_ACCESS_BYTES}")
        })?;
        let mut names = HashSet::new();
        for (index, document) in self.documents.iter().enumerate() {
            let path = format!("access.documents[{index}]");
            check(names.insert(&document.name), &format!("{path}.name"), || {
                format!("{:?} occurs twice", document.name)
            })?;
            document.validate().map_err(|invalid| invalid.below(&path))?;
        }
        Ok(())
    }
}

impl AccessDocument {
    /// Checks one document; paths are relative to it.
    pub fn validate(&self) -> Checked {
        name("name", &self.name)?;
        check(self.rules.len() <= MAX_ACCESS_RULES, "rules", || {
            format!("has {} entries, more than {MAX_ACCESS_RULES}", self.rules.len())
        })?;
        check(self.bytes() <= MAX_ACCESS_DOCUMENT_BYTES, "rules", || {
            format!("come to {} bytes, more than {MAX_ACCESS_DOCUMENT_BYTES}", self.bytes())
        })?;
        let mut ids = HashSet::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let path = format!("rules[{index}]");
            check(ids.insert(&rule.id), &format!("{path}.id"), || format!("{:?} occurs twice", rule.id))?;
            name(&format!("{path}.id"), &rule.id)?;
        }
        found_right::once(self.hash(), || self.check_rules())
    }

    fn check_rules(&self) -> Checked {
        let schema = access_schema()
            .ok_or_else(|| Invalid { path: "rules".into(), problem: "this build has no schema".into() })?;
        let validator = Validator::new(schema.clone());
        for (index, rule) in self.rules.iter().enumerate() {
            rule.check(&validator)
                .map_err(|problem| Invalid { path: format!("rules[{index}].cedar"), problem })?;
        }
        Ok(())
    }

    /// What its rules come to, bytes.
    pub fn bytes(&self) -> usize {
        self.rules.iter().map(|rule| rule.cedar.len()).sum()
    }

    /// SHA-256 of the document's canonical form, lower-case hexadecimal.
    pub fn hash(&self) -> String {
        serde_json::to_value(self)
            .map_or_else(|_| String::new(), |value| sha256_hex(crate::canonical(&value)))
    }
}

impl AccessRule {
    /// The rule as Cedar takes it.
    pub fn parse(&self) -> Result<Policy, String> {
        depth::check(&self.cedar)?;
        Policy::parse(Some(PolicyId::new(&self.id)), &self.cedar)
            .map_err(|error| shortened(&described(&error)))
    }

    fn check(&self, validator: &Validator) -> Result<(), String> {
        if self.cedar.len() > MAX_ACCESS_RULE_BYTES {
            return Err(format!("has {} bytes, more than {MAX_ACCESS_RULE_BYTES} bytes", self.cedar.len()));
        }
        let set = PolicySet::from_policies([self.parse()?]).map_err(|error| shortened(&error.to_string()))?;
        let found = validator.validate(&set, ValidationMode::Strict);
        let errors = found.validation_errors().map(ToString::to_string);
        let mistakes =
            found.validation_warnings().filter(|warning| is_mistake(warning)).map(ToString::to_string);
        let problem = errors.chain(mistakes).next();
        problem.map_or(Ok(()), |problem| Err(shortened(&self.without_id(&problem))))
    }

    /// Cedar begins with which policy it speaks of, which the path says already.
    fn without_id(&self, problem: &str) -> String {
        problem.replace(&format!("for policy `{}`, ", self.id), "")
    }
}

/// What never applies, or does not read as it looks. Letters of all languages are fine.
fn is_mistake(warning: &ValidationWarning) -> bool {
    matches!(
        warning,
        ValidationWarning::ImpossiblePolicy(_)
            | ValidationWarning::BidiCharsInString(_)
            | ValidationWarning::BidiCharsInIdentifier(_)
    )
}

fn described(error: &cedar_policy::ParseErrors) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for error in error.iter() {
        let _ = write!(text, "{}{error}", if text.is_empty() { "" } else { "; " });
    }
    text
}

fn shortened(problem: &str) -> String {
    problem.chars().take(MAX_PROBLEM_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(cedar: &str) -> AccessDocument {
        let rule = AccessRule { id: "statements[0]".into(), cedar: cedar.into() };
        AccessDocument { name: "team".into(), enforcement: Enforcement::Enforce, rules: vec![rule] }
    }

    fn problem(cedar: &str) -> String {
        document(cedar).validate().map_or_else(|invalid| invalid.to_string(), |()| String::new())
    }

    #[test]
    fn rules_of_every_kind_that_is_documented_are_valid() {
        for cedar in [
            "permit (principal, action, resource);",
            r#"permit (principal == Client::"apps.shop", action == Action::"complete", resource == Model::"coder");"#,
            r#"permit (principal in Namespace::"apps", action, resource in Backend::"local");"#,
            r#"forbid (principal, action, resource) unless { context.address.isInRange(ip("10.0.0.0/8")) };"#,
            r#"forbid (principal, action, resource) when { context.tokenAge > duration("5m") };"#,
            r#"permit (principal, action, resource) when { context.now.toTime() >= duration("8h") };"#,
        ] {
            assert_eq!(problem(cedar), "", "{cedar}");
        }
    }

    #[test]
    fn a_rule_that_does_not_parse_or_type_check_or_never_applies_is_told_at_its_place() {
        for (cedar, expected) in [
            ("permit (principal, action, resource)", "rules[0].cedar: unexpected end of input"),
            ("permit (principal, action, resource) when { context.nobody };", "`nobody`"),
            ("permit (principal == Person::\"x\", action, resource);", "Person"),
            ("permit (principal, action == Action::\"delete\", resource);", "delete"),
            ("permit (principal, action, resource) when { 1 == \"1\" };", "rules[0].cedar"),
            ("permit (principal == ?principal, action, resource);", "rules[0].cedar"),
            ("permit (principal, action, resource) when { ip(\"nowhere\").isIpv4() };", "nowhere"),
            ("permit (principal == Model::\"x\", action, resource);", "rules[0].cedar"),
        ] {
            let problem = problem(cedar);
            assert!(problem.contains(expected), "{cedar}: {problem}");
        }
        let long = format!("permit (principal, action, resource); {}", "/".repeat(MAX_ACCESS_RULE_BYTES));
        assert!(problem(&long).contains("more than 8192 bytes"));
    }

    #[test]
    fn an_identifier_cannot_break_out_of_its_entity() {
        let hostile = entity("Model", "x\"] || true || [\"\\ \n").unwrap().to_string();
        let rule = format!("permit (principal, action, resource == {hostile});");
        assert_eq!(problem(&rule), "");
    }

    #[test]
    fn a_rule_that_is_as_deep_as_it_is_long_ends_no_process() {
        let rule =
            |condition: String| format!("permit (principal, action, resource) when {{ {condition} }};");
        let chained = |one: &str, times: usize, end: &str| rule(format!("{}{end}", one.repeat(times)));
        for cedar in [
            rule(format!("{}true{}", "(".repeat(4_000), ")".repeat(4_000))),
            rule(format!("{}{} == []", "[".repeat(4_000), "]".repeat(4_000))),
            rule(format!("{}true{}", "(".repeat(30), ")".repeat(30))),
            chained("!", 900, "true"),
            chained("- ", 900, "1 == 1"),
            chained("true && ", 320, "true"),
            chained("false || ", 320, "true"),
            chained("1 + ", 480, "1 == 1"),
            chained("if true then ", 320, "true"),
            chained("if true then true else ", 240, "true"),
            rule(format!("context{}", ".a".repeat(480))),
            rule(format!("context.address{}", ".isIpv4()".repeat(320))),
        ] {
            // On a stack as small as those of the threads that do this.
            let checked =
                std::thread::Builder::new().stack_size(2 << 20).spawn(move || problem(&cedar)).unwrap();
            checked.join().unwrap();
        }
    }

    #[test]
    fn names_are_unique_and_bounded() {
        let mut two = document("permit (principal, action, resource);");
        two.rules.push(two.rules[0].clone());
        assert_eq!(two.validate().unwrap_err().path, "rules[1].id");
        let access = |documents| Access { namespace: "team".into(), documents };
        let one = document("permit (principal, action, resource);");
        assert_eq!(
            access(vec![one.clone(), one.clone()]).validate().unwrap_err().path,
            "access.documents[1].name"
        );
        assert!(
            access(vec![one; MAX_ACCESS_DOCUMENTS + 1])
                .validate()
                .unwrap_err()
                .problem
                .contains("more than 64")
        );
        access(Vec::new()).validate().unwrap();
    }

    #[test]
    fn a_hash_tells_documents_apart() {
        let one = document("permit (principal, action, resource);");
        let shadow = AccessDocument { enforcement: Enforcement::Shadow, ..one.clone() };
        assert_ne!(one.hash(), shadow.hash());
        assert_eq!(one.hash().len(), 64);
    }
}
