//! Certificates: those by which the operator and the replicas know each other, the one that clients are shown, and whether either would
//! be believed.

mod certificates;
mod shown;
mod trust;

#[cfg(test)]
pub(crate) use certificates::Lasting;
pub(crate) use certificates::{
    AUTHORITY_KEY, Certificates, NOT_AFTER, OPERATOR_FILE, OPERATOR_KEY, operator_as_stored, server_name,
};
pub(crate) use shown::{Encryption, Given, Shown};
