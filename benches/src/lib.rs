//! The parts of the gateway's benchmark: a backend, a floor, the product, and a clock of processor time.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

mod backend;
mod clock;
mod floor;
mod load;
mod median;
mod product;

pub use backend::Backend;
pub use clock::{Server, pin_to};
pub use floor::floor;
pub use load::{Ask, Load, Target};
pub use median::median;
pub use product::{Extent, policy, product};
