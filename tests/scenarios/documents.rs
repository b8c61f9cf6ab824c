//! What the documents say is so: folders with READMEs, examples that parse, screenshots that are there
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, process::Command};

use xtask::paths;

#[test]
fn every_folder_of_the_design_has_a_readme() {
    let root = paths::root();
    let mut folders: Vec<_> = ["hal", "board", "yocto", "tests"].map(|name| root.join(name)).into();
    for entry in fs::read_dir(root.join("firmware")).unwrap() {
        folders.push(entry.unwrap().path());
    }
    let missing: Vec<_> =
        folders.iter().filter(|folder| folder.is_dir() && !folder.join("README.md").is_file()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_link_of_a_readme_leads_somewhere() {
    let root = paths::root();
    let listed = Command::new("git").args(["ls-files", "*README.md"]).current_dir(&root).output().unwrap();
    let mut broken = Vec::new();
    for name in String::from_utf8(listed.stdout).unwrap().lines() {
        let file = root.join(name);
        let text = fs::read_to_string(&file).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            let inside = !target.is_empty() && !target.contains("://");
            if inside && !file.parent().unwrap().join(target).exists() {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_programs_say_what_they_can_do() {
    for program in ["rostrumd", "channeld"] {
        let path = paths::program("debug", program);
        let help = Command::new(&path).arg("--help").output().unwrap();
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(
            help.status.success() && text.contains("--config") && text.contains("check-config"),
            "{text}"
        );
        // What config-example prints passes check-config but for files that this machine lacks.
        let example = Command::new(&path).arg("config-example").output().unwrap();
        assert!(example.status.success());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        fs::write(&file, &example.stdout).unwrap();
        let check = Command::new(&path).arg("check-config").arg("--config").arg(&file).output().unwrap();
        assert!(check.status.success(), "{program}: {}", String::from_utf8_lossy(&check.stderr));
        // And a misspelt key is told with line and nearest name.
        let broken = String::from_utf8(example.stdout).unwrap().replacen("\nlisten = ", "\nlisen = ", 1);
        fs::write(&file, broken).unwrap();
        let check = Command::new(&path).arg("check-config").arg("--config").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert!(
            !check.status.success() && said.contains("config.toml:") && said.contains("`listen`"),
            "{said}"
        );
    }
}
