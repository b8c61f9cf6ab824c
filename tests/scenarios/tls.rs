//! A guest joins over HTTPS and WSS; the certificate is replaced in the meeting, and nobody notices but newcomers
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    path::Path,
    process::{Command, Stdio},
};

use rostrum_tests::{Browser, Lab, browser::FakeDevices, lab::PATIENCE, until};
use serde_json::json;

/// A new certificate for 127.0.0.1, signed by itself.
fn make_certificate(dir: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(dir.join("new-key.pem"))
        .arg("-out")
        .arg(dir.join("new-certificate.pem"))
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    for name in ["key.pem", "certificate.pem"] {
        std::fs::rename(dir.join(format!("new-{name}")), dir.join(name)).unwrap();
    }
}

/// The certificate that the service shows to a new connection, in PEM.
fn shown(https: &str) -> anyhow::Result<String> {
    let address = https.trim_start_matches("https://");
    let output = Command::new("openssl")
        .args(["s_client", "-connect", address])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = text.split_once("-----BEGIN").ok_or_else(|| anyhow::anyhow!("no certificate: {text}"))?;
    Ok(rest.split("-----END").next().unwrap_or_default().to_owned())
}

fn bar(browser: &mut Browser, page: &str) -> u32 {
    until("the room's picture", PATIENCE, || Ok(browser.picture(page, "room")?.bar())).unwrap().frame_number
}

#[test]
fn a_certificate_is_replaced_in_a_meeting() {
    let files = tempfile::tempdir().unwrap();
    make_certificate(files.path());
    let extra = format!(
        "[http.tls]\ncertificate = {:?}\nkey = {:?}\nplain_listen = \"127.0.0.1:0\"\n",
        files.path().join("certificate.pem"),
        files.path().join("key.pem"),
    );
    let lab = Lab::with(&extra, "debug").unwrap();
    let https = lab.service.https.clone().unwrap();
    let _room = lab.joined_room("room").unwrap();
    let devices = FakeDevices { any_certificate: true, ..FakeDevices::default() };
    let mut browser = Browser::with(lab.dir(), &devices).unwrap();
    let link = lab.guest_link("Ada").unwrap();
    assert!(link.starts_with(&https), "{link}");
    browser.open("ada", &link).unwrap();
    bar(&mut browser, "ada");

    let first = shown(&https).unwrap();
    make_certificate(files.path());
    let second = until("the new certificate", PATIENCE, || {
        Ok(Some(shown(&https)?).filter(|certificate| *certificate != first))
    })
    .unwrap();
    // The old meeting goes on over its old connection, and a newcomer joins over a new one.
    assert_eq!(browser.call("ada", "connection", json!({})).unwrap(), "connected");
    let before = bar(&mut browser, "ada");
    until("a later picture", PATIENCE, || Ok((bar(&mut browser, "ada") > before).then_some(()))).unwrap();
    browser.open("grace", &lab.guest_link("Grace").unwrap()).unwrap();
    bar(&mut browser, "grace");

    // What cannot be used is refused in the log, and the one before stays.
    std::fs::write(files.path().join("certificate.pem"), "-----BEGIN CERTIFICATE-----\nrubbish").unwrap();
    let log = lab.dir().join("service/channeld.log");
    until("the refusal in the log", PATIENCE, || {
        Ok(std::fs::read_to_string(&log)?.contains("the new certificate is not used").then_some(()))
    })
    .unwrap();
    assert_eq!(shown(&https).unwrap(), second);
    let mut users = lab.users().unwrap();
    users.sort();
    assert_eq!(users.len(), 3, "{users:?}");
}

/// An authority and a certificate of its for 127.0.0.1, as an operator has them.
fn make_authority(dir: &Path) {
    let run = |arguments: &[&str]| {
        let made =
            Command::new("openssl").args(arguments).current_dir(dir).stderr(Stdio::null()).status().unwrap();
        assert!(made.success(), "{arguments:?}");
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority =
        ["-x509", "-days", "2", "-subj", "/CN=Our own", "-keyout", "ca-key.pem", "-out", "ca.pem"];
    run(&[&["req"][..], &key, &authority].concat());
    let request = ["-subj", "/CN=127.0.0.1", "-keyout", "key.pem", "-out", "request.pem"];
    run(&[&["req"][..], &key, &request].concat());
    std::fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    run(&[
        "x509",
        "-req",
        "-in",
        "request.pem",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca-key.pem",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "certificate.pem",
    ]);
}

#[test]
fn a_terminal_trusts_the_authority_that_its_machine_trusts_and_no_other() {
    let files = tempfile::tempdir().unwrap();
    make_authority(files.path());
    let extra = format!(
        "[http.tls]\ncertificate = {:?}\nkey = {:?}\nplain_listen = \"127.0.0.1:0\"\n",
        files.path().join("certificate.pem"),
        files.path().join("key.pem"),
    );
    let lab = Lab::with(&extra, "debug").unwrap();
    let url = lab.service.https.clone().unwrap().replace("https://", "wss://");
    let config = files.path().join("rostrumd.toml");
    let text = format!(
        "[service]\nurl = {url:?}\nchannel = \"room\"\nuser = \"room\"\ntoken_file = \"token\"\n\n\
         [board]\nprofile = \"virtual\"\n",
    );
    std::fs::write(&config, text).unwrap();
    let selftest = |authorities: &Path| {
        let output = Command::new(xtask::paths::program("debug", "rostrumd"))
            .arg("--config")
            .arg(&config)
            .args(["selftest", "--only", "network"])
            .env("SSL_CERT_FILE", authorities)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (trusted, table) = selftest(&files.path().join("ca.pem"));
    assert!(trusted, "{table}");
    make_authority(files.path());
    let (trusted, table) = selftest(&files.path().join("ca.pem"));
    assert!(!trusted && table.contains("TLS: ") && table.contains("private authority"), "{table}");
}
