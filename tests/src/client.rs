//! An application's side: credentials, tokens, and streamed answers.

use crate::cluster::Cluster;
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::blocking::{Client as Http, Response};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::time::Duration;

/// Longest single request, seconds: a small model on one processor takes its time.
const REQUEST_SECONDS: u64 = 900;

/// What an application mounts.
pub struct Credentials {
    /// The client's identifier.
    pub id: String,
    /// The client's secret.
    pub secret: String,
}

impl Credentials {
    /// Reads the Secret that the operator made for a resource.
    pub fn of(cluster: &Cluster, namespace: &str, resource: &str) -> anyhow::Result<Self> {
        Self::in_secret(cluster, namespace, &format!("{resource}-client"))
    }

    /// Reads a Secret.
    pub fn in_secret(cluster: &Cluster, namespace: &str, secret: &str) -> anyhow::Result<Self> {
        let shown =
            cluster.kubectl()?.args(["-n", namespace, "get", "secret", secret, "-o", "json"]).output()?;
        ensure!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
        let secret: Value = serde_json::from_slice(&shown.stdout)?;
        let read = |key: &str| -> anyhow::Result<String> {
            let encoded = secret["data"][key].as_str().with_context(|| format!("the Secret has no {key}"))?;
            Ok(String::from_utf8(STANDARD.decode(encoded)?)?)
        };
        Ok(Self { id: read("client-id")?, secret: read("client-secret")? })
    }
}

/// A client of one service.
pub struct Client {
    http: Http,
    base: String,
    token: String,
}

impl Client {
    /// Asks for a token.
    pub fn authenticate(base: &str, credentials: &Credentials) -> anyhow::Result<Self> {
        let http = Http::builder().timeout(Duration::from_secs(REQUEST_SECONDS)).build()?;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &credentials.id),
            ("client_secret", &credentials.secret),
        ];
        let answer = http.post(format!("{base}/oauth/token")).form(&form).send()?;
        ensure!(answer.status().is_success(), "no token: {}", answer.text()?);
        let answer: Value = serde_json::from_str(&answer.text()?)?;
        let token = answer["access_token"].as_str().context("no access_token")?.to_owned();
        Ok(Self { http, base: base.to_owned(), token })
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The token's claims, not verified.
    pub fn claims(&self) -> anyhow::Result<Value> {
        let claims = self.token.split('.').nth(1).context("not a JWT")?;
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?)
    }

    /// Asks for something; gives the status of the answer.
    pub fn get(&self, path: &str) -> anyhow::Result<u16> {
        let answer = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send()?;
        Ok(answer.status().as_u16())
    }

    /// Sends a document.
    pub fn post(&self, path: &str, document: &Value) -> anyhow::Result<Response> {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token);
        Ok(request.header("content-type", "application/json").body(document.to_string()).send()?)
    }

    /// Sends a document and reads the answer as one.
    pub fn post_json(&self, path: &str, document: &Value) -> anyhow::Result<Value> {
        let answer = self.post(path, document)?;
        let status = answer.status();
        let text = answer.text()?;
        ensure!(status.is_success(), "{path}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Sends a document and hands over each event's data as it arrives. `false` ends the reading.
    pub fn post_events(
        &self,
        path: &str,
        document: &Value,
        mut on_data: impl FnMut(&str) -> bool,
    ) -> anyhow::Result<()> {
        let answer = self.post(path, document)?;
        let status = answer.status();
        ensure!(status.is_success(), "{path}: {status}: {}", answer.text()?);
        for line in BufReader::new(answer).lines() {
            let line = line?;
            if let Some(data) = line.strip_prefix("data: ")
                && !on_data(data)
            {
                return Ok(());
            }
        }
        Ok(())
    }
}
