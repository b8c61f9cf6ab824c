//! A terminal updates itself from a hawkBit that others wrote, `hawkbit_mock`, which takes exact words only
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use hawkbit::ddi::{
    Execution::{Closed, Downloaded, Proceeding},
    Finished::{self, Failure, Success},
    Type,
};
use hawkbit_mock::ddi::{ChunkProtocol, Deployment, DeploymentBuilder, ServerBuilder, Target};
use rostrum_fleet::update::{link::FromTerminal, status::Phase};
use rostrum_tests::updates::{Bundles, Image, OLD, Quality, UpdateTerminal, rauc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const NEW: &str = "1.1.0";
/// Time for an update with its restart on a busy machine.
const UPDATE: Duration = Duration::from_secs(60);
/// The mock wants a minute between two polls; a person at the panel is in more of a hurry.
const CHECK: Duration = Duration::from_millis(500);

/// The mock knows one device, by its token, and the terminal is it.
struct Scene {
    _dir: tempfile::TempDir,
    target: Target,
    bundles: Bundles,
    terminal: UpdateTerminal,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ServerBuilder::default().build();
        let target = server.add_target("T-1");
        let token = dir.path().join("token");
        fs::write(&token, "KeyT-1\n").unwrap();
        let configuration = format!(
            "[server]\nurl = {:?}\ntenant = {:?}\ntransfer = \"fetch\"\n\
             [server.credentials]\ntarget_token_file = {token:?}\n\
             [install]\nidle_s = 0\n[gate]\nsteady_s = 0\nfolders = []\n",
            server.base_url(),
            server.tenant
        );
        let bundles = Bundles::new(dir.path(), rauc()).unwrap();
        let terminal = UpdateTerminal::new(rauc(), &bundles.key_ring(), &configuration).unwrap();
        let mut scene = Self { _dir: dir, target, bundles, terminal };
        scene.terminal.boot().unwrap();
        until(&mut scene.terminal, "it is well", UpdateTerminal::is_good);
        scene
    }

    /// Action 1: the new version, signed by `signer`.
    fn deployment(&self, signer: &str) -> Deployment {
        let image = Image::new(NEW, Quality::Good);
        let bundle = self.bundles.bundle_with(&image, "rostrum-test", signer).unwrap();
        let hash = sha256(&bundle);
        DeploymentBuilder::new("1", Type::Attempt, Type::Attempt)
            .chunk(ChunkProtocol::BOTH, "os", NEW, "rostrum", vec![(bundle, "", "", &hash)])
            .build()
    }

    fn runs(&self, version: &str) -> bool {
        self.terminal.runs().is_some_and(|image| image.version == version)
    }
}

fn sha256(file: &Path) -> String {
    Sha256::digest(fs::read(file).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn until(terminal: &mut UpdateTerminal, what: &str, is_so: impl Fn(&UpdateTerminal) -> bool) {
    let mut checked = Instant::now();
    let look = |terminal: &mut UpdateTerminal| {
        if checked.elapsed() >= CHECK {
            terminal.say(FromTerminal::Check);
            checked = Instant::now();
        }
        Ok(is_so(terminal).then_some(()))
    };
    terminal.until(what, UPDATE, look).unwrap();
}

/// Three more polls: time for what must not come.
fn three_polls(terminal: &mut UpdateTerminal, target: &Target) {
    let polls = target.poll_hits() + 3;
    until(terminal, "polls", |_| target.poll_hits() >= polls);
}

/// What the mock is to be told of the terminal, word for word.
fn attributes(version: &str) -> Value {
    let (updater, architecture) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let data = json!({"udid": "T-1", "version": version, "updater": updater, "architecture": architecture});
    json!({"mode": "replace", "data": data})
}

#[test]
fn a_deployment_is_told_step_by_step_and_ends_well_when_the_new_version_is_good() {
    let mut scene = Scene::new();
    scene.target.request_config(attributes(OLD));
    let target = &scene.target;
    until(&mut scene.terminal, "attributes", |_| target.config_data_hits() == 1);
    // hawkBit asks again after an update.
    target.request_config(attributes(NEW));
    let told = |execution, finished, text| {
        target.expect_deployment_feedback("1", execution, finished, None, vec![text])
    };
    let steps = [
        told(Proceeding, Finished::None, "fetching the bundle"),
        told(Downloaded, Finished::None, "the bundle is here"),
        told(Proceeding, Finished::None, "installing"),
    ];
    // Its answer may be lost in the restart.
    let installed = told(Proceeding, Finished::None, "installed; a restart makes it run");
    let end = told(Closed, Success, "version 1.1.0 runs and is good");
    target.push_deployment(scene.deployment("trusted"));
    until(&mut scene.terminal, "the end", |_| end.calls() > 0);
    assert!(scene.runs(NEW) && scene.terminal.is_good(), "it was told too early");
    three_polls(&mut scene.terminal, &scene.target);
    assert_eq!(end.calls(), 1);
    assert_eq!(steps.map(|step| step.calls()), [1; 3]);
    assert!(installed.calls() <= 1);
    assert_eq!(scene.target.config_data_hits(), 1);
    let log = scene.terminal.log();
    assert!(!log.contains("was not told"), "the mock does not take everything: {log}");
}

#[test]
fn a_strangers_bundle_is_a_failure_that_is_told_once() {
    let mut scene = Scene::new();
    let text = "signature verification failed: Verify error: self-signed certificate";
    let end = scene.target.expect_deployment_feedback("1", Closed, Failure, None, vec![text]);
    scene.target.push_deployment(scene.deployment("stranger"));
    until(&mut scene.terminal, "the end", |_| end.calls() > 0);
    // The mock goes on offering it, also after a power cut.
    three_polls(&mut scene.terminal, &scene.target);
    scene.terminal.cut_power().unwrap();
    three_polls(&mut scene.terminal, &scene.target);
    assert_eq!(end.calls(), 1);
    assert!(scene.runs(OLD) && scene.terminal.ran.len() == 2);
}

#[test]
fn a_deployment_that_waits_is_cancelled_and_never_comes() {
    let mut scene = Scene::new();
    scene.terminal.meeting(true);
    scene.target.push_deployment(scene.deployment("trusted"));
    until(&mut scene.terminal, "it waits", |terminal| terminal.status().phase == Phase::Waiting);
    let text = "cancelled before it was installed";
    let end = scene.target.expect_cancel_feedback("1", Closed, Success, vec![text]);
    scene.target.cancel_action("1");
    until(&mut scene.terminal, "cancelled", |_| end.calls() > 0);
    scene.terminal.meeting(false);
    three_polls(&mut scene.terminal, &scene.target);
    assert_eq!((end.calls(), scene.terminal.status().phase), (1, Phase::Idle));
    assert!(scene.runs(OLD) && scene.terminal.ran.len() == 1);
}
