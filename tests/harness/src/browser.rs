//! Real Chromium, driven by `tests/peers/chromium/browser.mjs`.

use std::{collections::HashMap, path::Path, process::Command, time::Duration};

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use xtask::{paths, process::Running};

use crate::{picture::Rgba, sound};

/// One Chromium with any number of pages.
pub struct Browser {
    node: Running,
    /// Events that came along with one that was awaited.
    later: HashMap<String, Vec<Value>>,
}

/// What the browser's fake devices play.
#[derive(Default)]
pub struct FakeDevices<'a> {
    /// MJPEG or Y4M for the camera, looped.
    pub video: Option<&'a Path>,
    /// WAV for the microphone, looped.
    pub audio: Option<&'a Path>,
    /// Takes any certificate of HTTPS.
    pub any_certificate: bool,
    /// Media goes by TURN only.
    pub relay_only: bool,
}

impl Browser {
    /// Starts it with Chromium's own fake camera and microphone. Its log goes into `dir`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::with(dir, &FakeDevices::default())
    }

    /// Starts it with recordings for its camera and microphone.
    ///
    /// # Errors
    /// When it does not start.
    pub fn with(dir: &Path, devices: &FakeDevices<'_>) -> anyhow::Result<Self> {
        let options = json!({
            "video": devices.video, "audio": devices.audio,
            "any_certificate": devices.any_certificate, "relay_only": devices.relay_only,
        });
        let mut command = Command::new("node");
        command.arg("browser.mjs").arg(options.to_string()).current_dir(paths::chromium_peer());
        let mut browser = Self {
            node: Running::start("chromium", dir.join("chromium.log"), &mut command)?,
            later: HashMap::new(),
        };
        browser.answer()?;
        Ok(browser)
    }

    /// Opens a page under the name `page`.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn open(&mut self, page: &str, url: &str) -> anyhow::Result<()> {
        self.tell(&json!({"do": "open", "page": page, "url": url})).map(|_| ())
    }

    /// Opens a page with a participant made of livekit-client under the name `page`, and joins the service at `url`
    /// (`http://HOST:PORT`). Gives its participant sid; `options` are those of `room.js`.
    ///
    /// # Errors
    /// When it cannot join.
    pub fn join(&mut self, page: &str, url: &str, token: &str, options: Value) -> anyhow::Result<String> {
        let command = json!({"do": "join", "page": page, "url": url, "token": token, "options": options});
        let sid = self.tell(&command)?;
        Ok(sid.as_str().unwrap_or_default().to_owned())
    }

    /// What happened on a page of [`Browser::join`] since the last call.
    ///
    /// # Errors
    /// When there is no such page.
    pub fn events(&mut self, page: &str) -> anyhow::Result<Vec<Value>> {
        let mut events = self.later.remove(page).unwrap_or_default();
        let new = self.tell(&json!({"do": "events", "page": page}))?;
        events.extend(new.as_array().cloned().unwrap_or_default());
        Ok(events)
    }

    /// The next event on such a page for which `wanted` gives something, after those seen already.
    ///
    /// # Errors
    /// When none comes within `timeout`; the message holds what came.
    pub fn event<T>(
        &mut self,
        page: &str,
        what: &str,
        timeout: Duration,
        mut wanted: impl FnMut(&Value) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut seen = Vec::new();
        let found = crate::until(what, timeout, || {
            let mut events = self.events(page)?.into_iter();
            while let Some(event) = events.next() {
                if let Some(found) = wanted(&event) {
                    self.later.insert(page.to_owned(), events.collect());
                    return Ok(Some(found));
                }
                seen.push(event.to_string());
            }
            Ok(None)
        });
        found.with_context(|| format!("{page} saw {}", seen.join("\n")))
    }

    /// Closes a page, as closing its tab would.
    ///
    /// # Errors
    /// When there is no such page.
    pub fn close(&mut self, page: &str) -> anyhow::Result<()> {
        self.tell(&json!({"do": "close", "page": page})).map(|_| ())
    }

    /// Clicks the element with this `data-testid`.
    ///
    /// # Errors
    /// When it is not there or cannot be clicked.
    pub fn click(&mut self, page: &str, test_id: &str) -> anyhow::Result<()> {
        self.tell(&json!({"do": "click", "page": page, "test_id": test_id})).map(|_| ())
    }

    /// Types `text` into the field with this `data-testid`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn fill(&mut self, page: &str, test_id: &str, text: &str) -> anyhow::Result<()> {
        self.tell(&json!({"do": "fill", "page": page, "test_id": test_id, "text": text})).map(|_| ())
    }

    /// The text that the element with this `data-testid` shows.
    ///
    /// # Errors
    /// When it is not there.
    pub fn text(&mut self, page: &str, test_id: &str) -> anyhow::Result<String> {
        let text = self.tell(&json!({"do": "text", "page": page, "test_id": test_id}))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// The text of the whole page.
    ///
    /// # Errors
    /// When there is no such page.
    pub fn page_text(&mut self, page: &str) -> anyhow::Result<String> {
        let text = self.tell(&json!({"do": "text", "page": page}))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Calls a function of `inpage.js`.
    ///
    /// # Errors
    /// What the function threw.
    pub fn call(&mut self, page: &str, name: &str, parameters: Value) -> anyhow::Result<Value> {
        self.tell(&json!({"do": "call", "page": page, "name": name, "parameters": parameters}))
    }

    /// The picture that the page shows of `user`.
    ///
    /// # Errors
    /// When it shows none.
    pub fn picture(&mut self, page: &str, user: &str) -> anyhow::Result<Rgba> {
        let answer = self.call(page, "pixels", json!({"user": user}))?;
        let size = |name: &str| answer[name].as_u64().and_then(|n| u32::try_from(n).ok());
        Ok(Rgba {
            width: size("width").context("no width")?,
            height: size("height").context("no height")?,
            pixels: BASE64_STANDARD.decode(answer["rgba"].as_str().unwrap_or_default())?,
        })
    }

    /// What the page hears of `user` during `seconds` from now: mono, 48 kHz.
    ///
    /// # Errors
    /// When it hears nobody.
    pub fn sound(&mut self, page: &str, user: &str, seconds: f64) -> anyhow::Result<Vec<f32>> {
        let answer = self.call(page, "sound", json!({"user": user, "seconds": seconds}))?;
        Ok(sound::from_le_bytes(&BASE64_STANDARD.decode(answer.as_str().unwrap_or_default())?))
    }

    /// Keeps a picture of the page.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn screenshot(&mut self, page: &str, file: &Path) -> anyhow::Result<()> {
        self.tell(&json!({"do": "screenshot", "page": page, "file": file})).map(|_| ())
    }

    fn tell(&mut self, command: &Value) -> anyhow::Result<Value> {
        self.node.tell(&command.to_string())?;
        self.answer()
    }

    fn answer(&mut self) -> anyhow::Result<Value> {
        let line = self.node.line(Duration::from_secs(60), |line| Some(line.to_owned()))?;
        let mut answer: Value = serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
        match answer.get("error") {
            Some(error) => bail!("in the browser: {error}"),
            None => Ok(answer["ok"].take()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A browser that is asked to end takes its children along.
        if self.node.tell(r#"{"do": "quit"}"#).is_ok() {
            let _ = self.node.wait(Duration::from_secs(10));
        }
    }
}
