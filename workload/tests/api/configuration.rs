//! The configuration directory, read by the real program: changes apply without a restart, bad ones do not.

use crate::program::Program;
use crate::support::{Folder, bundle, policy, refusal as refusal_of};
use codecrucible_contract::{
    BackendKind, Bundle, Clients, Embedded, LogLevel, Packed, RegisteredClient, Voice, sha256_hex,
};
use codecrucible_workload::configuration::Folders;
use std::io::Read as _;

#[test]
fn a_new_bundle_is_applied_and_a_bad_one_refused_while_the_last_good_one_serves() {
    let folder = Folder::new();
    let first = policy("http://127.0.0.1:9/v1");
    folder.write_bundle(&bundle(first.clone()));
    let program = Program::start(&folder);
    assert!(program.says("configuration applied")["revision"].as_str().unwrap().starts_with("1-"));
    let admin = program.says("listening")["admin"].as_str().unwrap().to_owned();

    let mut second = first.clone();
    second.synthesis.max_tokens_per_voice += 1;
    second.observability.log_level = LogLevel::Debug;
    let previous = Bundle::compile(first, None).unwrap();
    let second = Bundle::compile(second, Some(previous.revision())).unwrap();
    folder.write_bundle(&second.to_json());
    assert_eq!(program.says("configuration applied")["revision"], second.revision().to_string());

    let whole = second.to_json();
    let oversized = " ".repeat(codecrucible_contract::MAX_BUNDLE_BYTES + 1);
    for (bad, reason) in [
        (&whole[..whole.len() / 2], "does not parse"),
        (&whole.replace("bundle.v1", "bundle.v2"), "this build reads"),
        (&oversized, "larger than the limit"),
    ] {
        folder.write_bundle(bad);
        let refusal = program.says("configuration refused");
        assert!(refusal["reason"].as_str().unwrap().contains(reason), "{refusal}");
        assert_eq!(refusal["serving"], second.revision().to_string());
    }
    let metrics = program.get(&admin, "/metrics");
    assert!(metrics.contains(&format!("codecrucible_bundle_info{{revision=\"{}\"}} 1", second.revision())));
    assert!(metrics.contains("codecrucible_configurations_refused_total 3"));
    assert!(metrics.contains("codecrucible_configuration_stale 1"));
}

#[test]
fn a_bundle_that_is_too_large_to_be_plain_is_applied_compressed() {
    let folder = Folder::new();
    let first = policy("http://127.0.0.1:9/v1");
    folder.write_bundle(&bundle(first.clone()));
    let program = Program::start(&folder);
    program.says("listening");
    let mut second = first.clone();
    let voice =
        |index| Voice { name: format!("v{index}"), temperature_percent: 1, prompt: "prompt ".repeat(2_000) };
    second.synthesis.voices.extend((0..20).map(voice));
    let previous = Bundle::compile(first, None).unwrap();
    let second = Bundle::compile(second, Some(previous.revision())).unwrap();
    let Packed::Compressed(bytes) = second.pack() else { panic!("it is plain") };
    let refused_for = |reason: &str| loop {
        let refusal = program.says("configuration refused")["reason"].as_str().unwrap().to_owned();
        // For a moment neither of the two may be there.
        if refusal.contains(reason) {
            break;
        }
    };
    folder.write_compressed_bundle(&bytes[..bytes.len() / 2]);
    refused_for("does not decompress");
    folder.write_compressed_bundle(&bytes);
    assert_eq!(program.says("configuration applied")["revision"], second.revision().to_string());
    folder.write_bundle(&previous.to_json());
    refused_for("lies beside the one that is plain");
}

#[tokio::test]
async fn a_registered_client_is_let_in_and_is_out_at_once_when_it_is_taken_off() {
    let folder = Folder::new();
    folder.write_bundle(&bundle(policy("http://127.0.0.1:9/v1")));
    let app = RegisteredClient { id: "team.app".into(), secret_sha256: sha256_hex("apps secret") };
    folder.write_clients(&Clients::new([app.clone()]).unwrap().to_json());
    let program = Program::start(&folder);
    let base = format!("http://{}", program.says("listening")["public"].as_str().unwrap());
    let http = reqwest::Client::new();
    let ask = |secret: &str| {
        let form = format!("grant_type=client_credentials&client_id=team.app&client_secret={secret}");
        let request = http.post(format!("{base}/oauth/token")).body(form);
        request.header("content-type", "application/x-www-form-urlencoded").send()
    };
    assert_eq!(ask("wrong").await.unwrap().status(), 401);
    let answer = ask("apps+secret").await.unwrap().text().await.unwrap();
    let token: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let token = token["access_token"].as_str().unwrap();
    let models = || http.get(format!("{base}/v1/models")).bearer_auth(token).send();
    assert_eq!(models().await.unwrap().status(), 200);

    let renewed = RegisteredClient { id: "team.app".into(), secret_sha256: sha256_hex("another") };
    folder.write_clients(&Clients::new([renewed]).unwrap().to_json());
    program.says("clients replaced");
    assert_eq!(models().await.unwrap().status(), 401, "it was had with a secret that is good no longer");
    folder.write_clients(&Clients::new([app]).unwrap().to_json());
    program.says("clients replaced");

    folder.write_clients("{}");
    let refusal = program.says("configuration refused");
    assert!(refusal["reason"].as_str().unwrap().contains("clients.json"), "{refusal}");
    assert_eq!(models().await.unwrap().status(), 200, "what was good goes on");
    folder.write_clients(&Clients::default().to_json());
    program.says("clients replaced");
    let (status, code, document) = refusal_of(models().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (401, "invalid_api_key"), "{document}");
    assert_eq!(ask("apps+secret").await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_client_that_is_taken_off_is_out_also_while_the_policy_is_refused() {
    let folder = Folder::new();
    folder.write_bundle(&bundle(policy("http://127.0.0.1:9/v1")));
    let app = RegisteredClient { id: "team.app".into(), secret_sha256: sha256_hex("secret") };
    folder.write_clients(&Clients::new([app]).unwrap().to_json());
    let program = Program::start(&folder);
    let base = format!("http://{}", program.says("listening")["public"].as_str().unwrap());
    let ask = || {
        let form = "grant_type=client_credentials&client_id=team.app&client_secret=secret";
        let request = reqwest::Client::new().post(format!("{base}/oauth/token")).body(form);
        request.header("content-type", "application/x-www-form-urlencoded").send()
    };
    assert_eq!(ask().await.unwrap().status(), 200);
    folder.write_bundle("{");
    program.says("configuration refused");
    folder.write_clients(&Clients::default().to_json());
    program.says("clients replaced");
    assert_eq!(ask().await.unwrap().status(), 401);
}

#[test]
fn a_model_file_that_is_missing_or_not_the_pinned_one_leaves_the_service_unready_with_the_reason() {
    let folder = Folder::new();
    let model = folder.0.join("model.gguf");
    std::fs::write(&model, "GGUF, but cut off").unwrap();
    let missing = folder.0.join("nothing.gguf");
    let other = "0".repeat(64);
    let own = codecrucible_contract::sha256_hex("GGUF, but cut off");
    for (path, sha256, reason) in
        [(&missing, &other, "cannot be read"), (&model, &other, "is pinned"), (&model, &own, "is not usable")]
    {
        let mut policy = policy("http://127.0.0.1:9/v1");
        let path = path.to_str().unwrap().to_owned();
        policy.backends[0].kind = BackendKind::Embedded(Embedded { path, sha256: sha256.clone() });
        folder.write_bundle(&bundle(policy));
        let program = Program::start(&folder);
        let listening = program.says("listening");
        assert!(program.says("model not loaded")["reason"].as_str().unwrap().contains(reason), "{reason}");
        let ready = program.get(listening["admin"].as_str().unwrap(), "/readyz");
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains(reason), "{ready}");
        // Whoever asks the public port is not shown paths and hashes.
        let public = program.get(listening["public"].as_str().unwrap(), "/readyz");
        assert!(public.starts_with("HTTP/1.1 503") && public.ends_with("not ready\n"), "{public}");
    }
}

#[test]
fn a_secret_larger_than_its_limit_is_refused_and_not_cut() {
    let folder = Folder::new();
    folder.write_bundle(&bundle(policy("http://127.0.0.1:9/v1")));
    std::fs::write(folder.0.join("client/client-secret"), "x".repeat(64 * 1024 + 1)).unwrap();
    let mut program = Program::start(&folder);
    assert!(!program.child.wait().unwrap().success());
    let mut complaint = String::new();
    program.child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert!(complaint.contains("client-secret: is larger than the limit of 65536 bytes"), "{complaint}");
}

#[test]
fn a_signing_key_that_breaks_later_is_refused_while_the_first_one_serves() {
    let folder = Folder::new();
    folder.write_bundle(&bundle(policy("http://127.0.0.1:9/v1")));
    let program = Program::start(&folder);
    program.says("listening");
    std::fs::write(folder.0.join("signing-keys/000002.pem"), "nonsense").unwrap();
    let refusal = program.says("configuration refused");
    assert!(refusal["reason"].as_str().unwrap().contains("000002.pem"), "{refusal}");
}

#[test]
fn a_directory_that_lacks_something_is_refused_at_start_by_name() {
    let folder = Folder::new();
    folder.write_bundle(&bundle(policy("http://127.0.0.1:9/v1")));
    std::fs::remove_file(folder.0.join("signing-keys/000001.pem")).unwrap();
    let mut program = Program::start(&folder);
    assert!(!program.child.wait().unwrap().success());
    let mut complaint = String::new();
    program.child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert!(complaint.contains("signing-keys: holds no signing key"), "{complaint}");
}

#[test]
fn a_termination_ends_the_program_in_good_order() {
    let folder = Folder::new();
    folder.write_bundle(&bundle(policy("http://127.0.0.1:9/v1")));
    let mut program = Program::start(&folder);
    program.says("listening");
    program.terminate();
    program.says("stopped");
    assert!(program.child.wait().unwrap().success());
}

#[test]
fn the_sample_directory_is_what_its_policy_compiles_to() {
    let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sample");
    let policy = std::fs::read(sample.join("policy.json")).unwrap();
    let folder = Folder::new();
    codecrucible_workload::configuration::compile(&Folders::new(&folder.0), policy.as_slice()).unwrap();
    let compiled = std::fs::read_to_string(folder.0.join("policy/bundle.json")).unwrap();
    assert_eq!(compiled, std::fs::read_to_string(sample.join("policy/bundle.json")).unwrap());
}
