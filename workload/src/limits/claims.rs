//! What a request wants of the limits that apply to it, and what is asked of their counters, wherever these are.

use super::counting::Rule;
use super::rules::Compiled;
use std::sync::Arc;

/// What a request wants of one limit.
#[derive(Clone)]
pub(super) struct Claim {
    pub(super) limit: Arc<Compiled>,
    /// Under which it counts: all of a service's keys have one hash tag, so that a cluster keeps them together.
    pub(super) key: String,
    /// How many of the unit.
    pub(super) wanted: u64,
}

/// What is asked of one counter.
#[derive(Clone, Copy)]
pub(super) struct Take<'a> {
    pub(super) limit: &'a str,
    pub(super) key: &'a str,
    pub(super) rule: Rule,
    /// How many.
    pub(super) cost: u64,
    /// Whether it refuses nothing.
    pub(super) is_shadow: bool,
}

/// What was taken from one counter is corrected.
#[derive(Clone, Copy)]
pub(super) struct Settlement<'a> {
    pub(super) limit: &'a str,
    pub(super) key: &'a str,
    pub(super) rule: Rule,
    /// What was used beyond what was taken; below zero where it was less.
    pub(super) beyond: i64,
}

/// What claims ask of counters, by the whole rule of each limit or by the part of one replica.
pub(super) fn takes(claims: &[Claim], rule: impl Fn(&Compiled) -> Rule) -> Vec<Take<'_>> {
    claims
        .iter()
        .map(|Claim { limit, key, wanted }| {
            let rule = rule(limit);
            Take { limit: &limit.name, key, rule, cost: rule.cost(*wanted), is_shadow: limit.is_shadow }
        })
        .collect()
}

/// How claims are settled when so much was used.
pub(super) fn settlements(
    claims: &[Claim],
    rule: impl Fn(&Compiled) -> Rule,
    used: u64,
) -> Vec<Settlement<'_>> {
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    claims
        .iter()
        .map(|Claim { limit, key, wanted }| {
            let rule = rule(limit);
            let beyond = signed(used).saturating_sub(signed(rule.cost(*wanted)));
            Settlement { limit: &limit.name, key, rule, beyond }
        })
        .collect()
}
