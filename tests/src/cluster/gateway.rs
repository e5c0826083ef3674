//! Ways into the cluster from outside: Traefik, which serves Ingresses and the Gateway API, only where a test needs it.

use super::binaries::Binaries;
use super::modules;
use super::network::{NODE_ADDRESS, inside};
use super::{Cluster, processes};
use anyhow::{Context as _, ensure};
use std::net::SocketAddr;

/// The process's name.
pub(super) const COMPONENT: &str = "traefik";
/// Its port on the node.
const PORT: u16 = 8000;
/// The tools' folder with the version of the Gateway API, and the module that has its definitions.
const DEFINITIONS: (&str, &str) = ("gateway-api", "sigs.k8s.io/gateway-api");
/// With what is not stable yet: this Traefik reads BackendTLSPolicies by the version from before they were.
const CHANNEL: &str = "config/crd/experimental";
/// What must be served before it starts.
const DEFINED: &str = "backendtlspolicies.gateway.networking.k8s.io";

impl Cluster {
    /// Starts it, unless it runs, and gives where it listens. A cluster that is not ours cannot be given one.
    pub fn serve_gateways(&self) -> anyhow::Result<SocketAddr> {
        ensure!(!self.is_external(), "a cluster of somebody else has gateways of its own");
        self.define_gateways()?;
        if !processes::is_alive(&self.place, COMPONENT) {
            let mut command = inside(&self.place, Binaries::for_tests()?.path(COMPONENT));
            command.env("KUBECONFIG", self.place.file("traefik.kubeconfig"));
            command.args([
                "--global.checknewversion=false",
                "--global.sendanonymoususage=false",
                &format!("--entrypoints.web.address={NODE_ADDRESS}:{PORT}"),
                "--providers.kubernetesgateway=true",
                "--providers.kubernetesgateway.experimentalchannel=true",
                &format!("--providers.kubernetesgateway.statusaddress.ip={NODE_ADDRESS}"),
                "--providers.kubernetesingress=true",
                &format!("--providers.kubernetesingress.ingressendpoint.ip={NODE_ADDRESS}"),
            ]);
            processes::start(&self.place, COMPONENT, &command)?;
        }
        format!("{NODE_ADDRESS}:{PORT}").parse().context("not an address")
    }

    /// Has the API server serve the Gateway API, without anybody who acts on it.
    pub fn define_gateways(&self) -> anyhow::Result<()> {
        let (tools, module) = DEFINITIONS;
        modules::define(self, &modules::folder(tools, module)?.join(CHANNEL), DEFINED)
    }
}
