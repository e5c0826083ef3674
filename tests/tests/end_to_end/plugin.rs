//! `kubectl crucible`, as kubectl finds it on the path.

use crate::support::{Namespace, eventually};
use codecrucible_tests::product;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// kubectl with the plugin on its path, in a namespace. kubectl takes no flags before a plugin's name.
fn kubectl(namespace: &Namespace<'_>) -> Command {
    let mut command = Command::new(namespace.cluster.kubectl().unwrap().get_program());
    let folder: PathBuf = product::PLUGIN.path().parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(folders).unwrap());
    command.env("KUBECONFIG", namespace.cluster.kubeconfig());
    command.args(["crucible", "-n", &namespace.name]);
    command
}

/// Runs the plugin; gives whether it succeeded and all that it said.
fn crucible(namespace: &Namespace<'_>, arguments: &[&str]) -> (bool, String) {
    let output = kubectl(namespace).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn patch(namespace: &Namespace<'_>, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &patch]).unwrap();
}

fn changed(namespace: &Namespace<'_>, change: impl FnOnce(&mut Value)) -> PathBuf {
    let mut resource = namespace.get("codecrucible/demo").unwrap();
    resource.as_object_mut().unwrap().remove("status");
    change(&mut resource["spec"]);
    let file = std::env::temp_dir().join(format!("codecrucible-plan-{}.yaml", std::process::id()));
    std::fs::write(&file, resource.to_string()).unwrap();
    file
}

#[test]
fn the_plugin_shows_plans_compares_and_finds_what_is_wrong() {
    let namespace = Namespace::new("plugin");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    patch(&namespace, &json!({"replicas": 3}));
    namespace.wait_until_ready("demo");
    eventually("all three run the policy", || {
        crucible(&namespace, &["status", "demo"]).1.matches("ready, runs policy 1-").count() == 3
    });
    let (_, shown) = crucible(&namespace, &["status", "demo"]);
    assert!(
        shown.starts_with("plugin/demo  http://demo.plugin.svc:8080\n")
            && shown.contains("└─ backend remote: OpenAI"),
        "{shown}"
    );
    let (_, json) = crucible(&namespace, &["status", "-o", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["policy"]["replicas"].as_array().unwrap().len(), 3);

    // What a change would do, and that it was not done.
    let plan = |change: fn(&mut Value)| {
        let file = changed(&namespace, change);
        crucible(&namespace, &["plan", "-f", file.to_str().unwrap()]).1
    };
    let reload = plan(|spec| spec["observability"] = json!({"logLevel": "Debug"}));
    assert!(
        reload.contains("change ConfigMap demo-policy") && reload.contains("without a restart"),
        "{reload}"
    );
    let restart = plan(|spec| spec["resources"]["requests"]["cpu"] = "30m".into());
    assert!(
        restart.contains("change Deployment demo") && restart.contains("pods would be replaced"),
        "{restart}"
    );
    let refused = plan(|spec| spec["backends"] = json!(["ghost"]));
    assert!(refused.contains("would be refused: spec.backends[0]"), "{refused}");
    assert_eq!(plan(|_| {}), "nothing would be written\n");

    // A change, as somebody sees it who watches.
    let mut watching =
        kubectl(&namespace).args(["status", "demo", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut all_run = |policy: &str| {
        let is_it = |line: &String| line.contains(policy) && line.contains(": 3 of 3 replicas");
        lines.find(is_it).unwrap()
    };
    all_run("policy 1-");
    patch(&namespace, &json!({"observability": {"logLevel": "Debug"}}));
    println!("{}", all_run("policy 2-"));
    watching.kill().unwrap();
    watching.wait().unwrap();

    let (_, history) = crucible(&namespace, &["policy", "history", "demo"]);
    let revisions: Vec<&str> = history.lines().filter_map(|line| line.get(2..)?.split(' ').next()).collect();
    assert!(revisions.len() == 2 && history.starts_with("* 2-"), "{history}");
    let (_, diff) = crucible(&namespace, &["policy", "diff", "demo", revisions[1]]);
    assert_eq!(diff, "- observability.logLevel: \"info\"\n+ observability.logLevel: \"debug\"\n");
    assert!(crucible(&namespace, &["policy", "rollback", "demo", revisions[1]]).0);
    eventually("the first policy is back", || {
        crucible(&namespace, &["status", "demo"]).1.matches("ready, runs policy 1-").count() == 3
    });
    assert!(crucible(&namespace, &["policy", "rollback", "demo", "none"]).0);
    let (done, told) = crucible(&namespace, &["policy", "rollback", "demo", "9-000000000000"]);
    assert!(!done && told.contains("no policy \"9-000000000000\" is kept"), "{told}");

    eventually("nothing is wrong", || crucible(&namespace, &["doctor"]).0);
    patch(&namespace, &json!({"backends": ["ghost"]}));
    namespace.wait_for("demo", "Accepted", "False/ReferenceNotFound");
    let (is_well, found) = crucible(&namespace, &["doctor"]);
    assert!(!is_well && found.contains("ModelBackend \"ghost\", which does not exist"), "{found}");
}
