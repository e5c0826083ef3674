//! What a syntax tree shows about code: how much of it does not parse, and what it defines.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tree_sitter::{Node, Parser, Tree};

/// Deepest syntax tree that is walked; code that nests deeper is not looked into further.
const MAX_DEPTH: usize = 500;

/// A language whose syntax is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Language {
    Python,
    JavaScript,
    Rust,
    Go,
}

/// What was found in a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Bytes in parts that do not parse, at least one for each missing token.
    pub broken_bytes: usize,
    /// Bytes altogether, white space at the ends aside.
    pub total_bytes: usize,
    /// Names of the functions, types and values that are defined anywhere in the text.
    pub definitions: BTreeSet<String>,
}

impl Language {
    /// By the name on a fenced code block or in a task.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "python" | "py" | "python3" => Some(Self::Python),
            "javascript" | "js" | "node" | "jsx" | "mjs" => Some(Self::JavaScript),
            "rust" | "rs" => Some(Self::Rust),
            "go" | "golang" => Some(Self::Go),
            _ => None,
        }
    }

    fn grammar(self) -> tree_sitter::Language {
        match self {
            Self::Python => tree_sitter_python::LANGUAGE.into(),
            Self::JavaScript => tree_sitter_javascript::LANGUAGE.into(),
            Self::Rust => tree_sitter_rust::LANGUAGE.into(),
            Self::Go => tree_sitter_go::LANGUAGE.into(),
        }
    }

    /// Kinds of nodes whose `name` field is a definition.
    fn defining_kinds(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["function_definition", "class_definition"],
            Self::JavaScript => &[
                "function_declaration",
                "generator_function_declaration",
                "class_declaration",
                "method_definition",
                "variable_declarator",
            ],
            Self::Rust => &[
                "function_item",
                "struct_item",
                "enum_item",
                "trait_item",
                "type_item",
                "const_item",
                "static_item",
                "mod_item",
                "macro_definition",
                "union_item",
            ],
            Self::Go => {
                &["function_declaration", "method_declaration", "type_spec", "const_spec", "var_spec"]
            }
        }
    }

    /// Parses a text and looks through its tree. `None` when the parser gives up.
    pub fn examine(self, code: &str) -> Option<Findings> {
        let mut parser = Parser::new();
        parser.set_language(&self.grammar()).ok()?;
        let tree: Tree = parser.parse(code, None)?;
        let mut findings = Findings { total_bytes: code.trim().len(), ..Findings::default() };
        self.walk(tree.root_node(), code, 0, &mut findings);
        findings.broken_bytes = findings.broken_bytes.min(findings.total_bytes);
        Some(findings)
    }

    fn walk(self, node: Node<'_>, code: &str, depth: usize, findings: &mut Findings) {
        if node.is_error() || node.is_missing() {
            findings.broken_bytes += node.byte_range().len().max(1);
            return;
        }
        if self.defining_kinds().contains(&node.kind()) {
            let name = node.child_by_field_name("name").and_then(|name| code.get(name.byte_range()));
            findings.definitions.extend(name.map(str::to_owned));
        }
        if depth < MAX_DEPTH {
            let mut cursor = node.walk();
            for child in node.children(&mut cursor) {
                self.walk(child, code, depth + 1, findings);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definitions(language: Language, code: &str) -> Vec<String> {
        let findings = language.examine(code).unwrap();
        assert_eq!(findings.broken_bytes, 0, "{code}");
        findings.definitions.into_iter().collect()
    }

    #[test]
    fn definitions_are_found_in_every_language() {
        assert_eq!(
            definitions(Language::Python, "class A:\n  def f(self): pass\nasync def g(): pass"),
            ["A", "f", "g"]
        );
        assert_eq!(
            definitions(Language::JavaScript, "const h = () => 1; class B { m() {} } function* k() {}"),
            ["B", "h", "k", "m"]
        );
        assert_eq!(
            definitions(Language::Rust, "struct P; impl P { fn q() {} } const R: u8 = 1;"),
            ["P", "R", "q"]
        );
        assert_eq!(
            definitions(Language::Go, "package x\ntype T struct{}\nfunc (t T) M() {}\nfunc F() {}"),
            ["F", "M", "T"]
        );
    }

    #[test]
    fn broken_code_is_measured_not_just_noticed() {
        let good = "def f():\n    return 1\n";
        let a_little = Language::Python.examine(&format!("{good}def g(:\n")).unwrap();
        let a_lot = Language::Python.examine("This is prose, with; no! code? at) all(").unwrap();
        let share = |findings: &Findings| findings.broken_bytes * 100 / findings.total_bytes;
        assert!(share(&a_little) > 0 && share(&a_little) < share(&a_lot), "{a_little:?} {a_lot:?}");
    }

    #[test]
    fn a_missing_bracket_counts() {
        assert!(Language::Go.examine("package x\nfunc F() {").unwrap().broken_bytes > 0);
    }

    #[test]
    fn hostile_nesting_does_not_overflow_the_stack() {
        let code = format!("x = {}1{}", "(".repeat(20_000), ")".repeat(20_000));
        assert!(Language::Python.examine(&code).is_some());
    }
}
