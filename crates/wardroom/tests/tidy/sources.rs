//! Sources: lengths, names, and what must not stand in them.

use proc_macro2::LineColumn;
use syn::{spanned::Spanned as _, visit::Visit};

use crate::{
    files, none, read,
    waivers::{LENGTHS, unused},
};

/// Longest file, in lines, tests included.
const FILE_LINES_MAX: usize = 600;

/// Longest function, in lines from its signature to its closing brace.
const FUNCTION_LINES_MAX: usize = 80;

/// Names of modules that say nothing about what is inside.
const EMPTY_NAMES: [&str; 5] = ["utils", "util", "helpers", "common", "misc"];

/// Text that must not stand in any source, script or document, and why. Written in two halves, or it would find
/// itself.
const FORBIDDEN: [(&str, &str, &str); 9] = [
    ("#[al", "low(", "`#[expect(lint, reason)]` goes away with its cause, this does not"),
    ("#![al", "low(", "`#![expect(lint, reason)]` goes away with its cause, this does not"),
    ("TO", "DO", "what is not done is an issue, or not said"),
    ("FIX", "ME", "what is broken is fixed or an issue"),
    ("XX", "X:", "say what it is"),
    ("/wo", "rk/", "a path of one machine"),
    ("/home", "/", "a path of one machine"),
    ("/ro", "ot/", "a path of one machine"),
    ("chat", "gpt", "the source is ours"),
];

fn rust_files() -> Vec<String> {
    let mut all = files("crates", &[".rs"]);
    all.extend(files("bench", &[".rs"]));
    assert!(all.len() > 50, "the sources were not found: {all:?}");
    all
}

/// Functions with their lengths.
#[derive(Default)]
struct Functions(Vec<(String, usize)>);

impl Functions {
    fn note(&mut self, name: &syn::Ident, start: LineColumn, end: LineColumn) {
        self.0.push((name.to_string(), end.line - start.line + 1));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.note(&item.sig.ident, item.sig.span().start(), item.block.span().end());
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note(&item.sig.ident, item.sig.span().start(), item.block.span().end());
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.note(&item.sig.ident, item.sig.span().start(), block.span().end());
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}

#[test]
fn files_and_functions_are_short() {
    let mut over = Vec::new();
    for path in rust_files() {
        let text = read(&path);
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            over.push((path.clone(), String::new(), format!("{path}: {lines} lines, {FILE_LINES_MAX} are allowed")));
        }
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut functions = Functions::default();
        functions.visit_file(&file);
        for (name, lines) in functions.0.into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES_MAX) {
            let problem = format!("{path}: fn {name}: {lines} lines, {FUNCTION_LINES_MAX} are allowed");
            over.push((path.clone(), name, problem));
        }
    }
    let waived =
        |(file, function, _): &&(String, String, String)| LENGTHS.iter().any(|waiver| waiver.covers(file, function));
    let mut problems: Vec<String> =
        over.iter().filter(|problem| !waived(problem)).map(|(_, _, problem)| problem.clone()).collect();
    let excused: Vec<(String, String)> =
        over.iter().filter(waived).map(|(file, function, _)| (file.clone(), function.clone())).collect();
    problems.extend(unused(LENGTHS, &excused));
    none(&problems);
}

#[test]
fn modules_are_named_after_what_is_inside() {
    let mut problems = Vec::new();
    for path in rust_files() {
        let parts: Vec<&str> = path.split('/').collect();
        if path.ends_with("/mod.rs") {
            problems.push(format!("{path}: a module's file bears its name"));
        }
        for part in parts {
            let name = part.trim_end_matches(".rs");
            if EMPTY_NAMES.contains(&name) {
                problems.push(format!("{path}: \"{name}\" says nothing about what is inside"));
            }
        }
    }
    none(&problems);
}

#[test]
fn forbidden_words_are_nowhere() {
    let mut everything = rust_files();
    let ends = [".toml", ".md", ".sh", ".py", ".mjs", ".yaml", ".service", "Dockerfile", "Makefile", "run"];
    for folder in ["config", "deploy", "docs", "scripts", "tests", "bench", ".ci"] {
        everything.extend(files(folder, &ends));
    }
    everything.extend(["Cargo.toml", "Makefile", "README.md", "CHANGELOG.md", "deny.toml"].map(str::to_owned));
    everything.extend(crate::crates().iter().map(|name| format!("crates/{name}/Cargo.toml")));
    let mut problems = Vec::new();
    for path in everything {
        for (index, line) in read(&path).lines().enumerate() {
            for (first, second, reason) in FORBIDDEN {
                if line.contains(&format!("{first}{second}")) {
                    problems.push(format!("{path}:{}: {first}{second}: {reason}", index + 1));
                }
            }
        }
    }
    none(&problems);
}
