//! What the suites stand on: a real cluster on one machine, images without a builder, model files, and a
//! client like those that applications are.
#![allow(
    clippy::print_stdout,
    reason = "a library for command-line tools and tests, which tell people what they do"
)]

pub mod client;
pub mod cluster;
pub mod demo;
pub mod https;
pub mod image;
pub mod model;
pub mod operator;
pub mod paths;
pub mod port_forward;
pub mod product;
pub mod proxy;
pub mod wait;
