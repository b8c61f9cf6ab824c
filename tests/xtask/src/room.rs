//! Starts a service and rooms on this machine, the way the demo, the tests and the benches all do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{paths, process::Running};

/// Time for a program to get ready on a busy machine.
pub const READY: Duration = Duration::from_secs(30);

/// A `channeld` on loopback.
pub struct Service {
    /// The program.
    pub program: Running,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// `https://127.0.0.1:PORT`, when it has a certificate.
    pub https: Option<String>,
    /// Port of its media.
    pub media_port: u16,
    /// The application that it serves.
    pub app_id: String,
    /// Its secret.
    pub app_key: String,
    profile: String,
    dir: PathBuf,
    rest_of_config: String,
}

/// Where a service listens.
struct Places {
    http: String,
    https: Option<String>,
    media_port: u16,
}

/// How a service is started.
pub struct ServiceOptions<'a> {
    /// `debug` or `release`.
    pub profile: &'a str,
    /// Folder for its configuration and log; made when absent.
    pub dir: &'a Path,
    /// Ports of HTTP and media; 0 takes free ones.
    pub ports: (u16, u16),
    /// An address besides loopback under which it is reached.
    pub address: Option<&'a str>,
    /// More lines of TOML for its configuration; those before the first table belong to `[media]`.
    pub extra: &'a str,
}

/// Where the first table of some TOML begins; its end when there is none.
fn first_table(toml: &str) -> usize {
    if toml.starts_with('[') { 0 } else { toml.find("\n[").map_or(toml.len(), |at| at + 1) }
}

impl Service {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it does not; the message holds the end of its log.
    pub fn start(options: &ServiceOptions<'_>) -> anyhow::Result<Self> {
        fs::create_dir_all(options.dir)?;
        let (app_id, app_key) = ("demo", random_hex()?);
        let (listen, more) = match options.address {
            Some(address) => ("0.0.0.0", format!(", \"{address}\"")),
            None => ("127.0.0.1", String::new()),
        };
        let (of_media, tables) = options.extra.split_at(first_table(options.extra));
        let rest = format!(
            "node_ip = [\"127.0.0.1\"{more}]\n{of_media}\n[[apps]]\nid = \"{app_id}\"\nkey = \"{app_key}\"\n{tables}\n",
        );
        let (http, media) = options.ports;
        write_service_config(options.dir, &format!("{listen}:{http}"), media, &rest)?;
        let (program, places) = Self::spawn(options.profile, options.dir)?;
        Ok(Self {
            program,
            url: places.http,
            https: places.https,
            media_port: places.media_port,
            app_id: app_id.into(),
            app_key,
            profile: options.profile.into(),
            dir: options.dir.into(),
            rest_of_config: rest,
        })
    }

    fn spawn(profile: &str, dir: &Path) -> anyhow::Result<(Running, Places)> {
        let mut command = Command::new(paths::program(profile, "channeld"));
        command.arg("--config").arg(dir.join("channeld.toml"));
        let mut program = Running::start("channeld", dir.join("channeld.log"), &mut command)?;
        let places = program.line(READY, |line| {
            let rest = line.strip_prefix("channeld listening ")?;
            let place = |name: &str| rest.split_whitespace().find_map(|word| word.strip_prefix(name));
            Some(Places {
                http: format!("http://{}", place("http=")?.replace("0.0.0.0", "127.0.0.1")),
                https: place("https=").map(|address| format!("https://{address}")),
                media_port: place("media=")?.rsplit(':').next()?.parse().ok()?,
            })
        })?;
        Ok((program, places))
    }

    /// Kills it as a power cut would.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.program.signal("KILL")?;
        self.program.wait(Duration::from_secs(5)).map(|_| ())
    }

    /// Starts it again at the same place after [`Service::kill`].
    ///
    /// # Errors
    /// As [`Service::start`].
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        // Only services on loopback are started again.
        write_service_config(&self.dir, self.url.trim_start_matches("http://"), 0, &self.rest_of_config)?;
        let (program, places) = Self::spawn(&self.profile, &self.dir)?;
        self.program = program;
        self.media_port = places.media_port;
        let url = places.http;
        anyhow::ensure!(url == self.url, "channeld came back at {url}, not at {}", self.url);
        Ok(())
    }

    /// A token for `user` in `channel`; with a `udid` it is a terminal's.
    ///
    /// # Errors
    /// When the service refuses.
    pub fn token(&self, channel: &str, user: &str, udid: Option<&str>) -> anyhow::Result<String> {
        let mut body = json!({"channel": channel, "user": user, "ttl": 86_400});
        if let Some(udid) = udid {
            body["udid"] = json!(udid);
        }
        let answer = self.api("POST", "/api/v1/tokens", Some(&body))?;
        answer["token"].as_str().map(str::to_owned).context("the service's answer holds no token")
    }

    /// Its address as a host at the other end of a network sees it; its own without one.
    pub fn url_at(&self, address: Option<&str>) -> String {
        address.map_or_else(|| self.url.clone(), |address| self.url.replace("127.0.0.1", address))
    }

    /// A link for guests of `channel`.
    ///
    /// # Errors
    /// When the service refuses.
    pub fn guest_link(&self, channel: &str) -> anyhow::Result<String> {
        let answer = self.api("POST", &format!("/api/v1/channels/{channel}/invites"), Some(&json!({})))?;
        answer["link"].as_str().map(str::to_owned).context("the service's answer holds no link")
    }

    /// Calls the management API as the application.
    ///
    /// # Errors
    /// When the answer is not a success; the message holds it.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let credentials = BASE64_STANDARD.encode(format!("{}:{}", self.app_id, self.app_key));
        let authorization = format!("Basic {credentials}");
        http(method, &format!("{}{path}", self.url), Some(("Authorization", &authorization)), body)
    }
}

fn write_service_config(dir: &Path, http: &str, media_port: u16, rest: &str) -> anyhow::Result<()> {
    let text = format!(
        "[devices]\nfile = {:?}\n\n[http]\nlisten = \"{http}\"\npages = {:?}\n\n[media]\nlisten = \"{}:{media_port}\"\n{rest}",
        dir.join("devices.json"),
        paths::pages("guest"),
        http.split(':').next().unwrap_or_default(),
    );
    Ok(fs::write(dir.join("channeld.toml"), text)?)
}

/// A `rostrumd` on the virtual board.
pub struct Terminal {
    /// The program.
    pub program: Running,
    /// Its panel.
    pub panel: Panel,
    /// Its configuration.
    pub config: PathBuf,
    profile: String,
    log: PathBuf,
}

/// How a terminal is started.
pub struct TerminalOptions<'a> {
    /// `debug` or `release`.
    pub profile: &'a str,
    /// Folder for its configuration, data and log; made when absent.
    pub dir: &'a Path,
    /// Port of its panel; 0 takes a free one.
    pub port: u16,
    /// Name of its user and of its board.
    pub user: &'a str,
    /// The channel that it joins.
    pub channel: &'a str,
    /// Its board's profile; `virtual` when there is none.
    pub board: Option<&'a Path>,
    /// A recording for its camera and microphones.
    pub clip: Option<&'a Path>,
    /// More lines of TOML for the end of its configuration.
    pub extra: &'a str,
}

impl Terminal {
    /// Starts it and waits until its panel answers.
    ///
    /// # Errors
    /// When it does not; the message holds the end of its log.
    pub fn start(service: &Service, options: &TerminalOptions<'_>) -> anyhow::Result<Self> {
        fs::create_dir_all(options.dir)?;
        let token_file = options.dir.join("token");
        fs::write(&token_file, service.token(options.channel, options.user, Some(options.user))?)?;
        let clip = options.clip.map(|clip| format!("clip = {clip:?}\n")).unwrap_or_default();
        let board = options.board.unwrap_or(Path::new("virtual"));
        let config = format!(
            "data_dir = {:?}\n\n[service]\nurl = \"{}\"\nchannel = \"{}\"\nuser = \"{user}\"\ntoken_file = {token_file:?}\n\n\
             [board]\nprofile = {board:?}\nudid = \"{user}\"\ncamera_id = {}\n{clip}\n[panel]\nlisten = \"127.0.0.1:{}\"\npages = {:?}\n{}\n",
            options.dir.join("data"),
            service.url,
            options.channel,
            camera_id(options.user),
            options.port,
            paths::pages("panel"),
            options.extra,
            user = options.user,
        );
        let file = options.dir.join("rostrumd.toml");
        fs::write(&file, config)?;
        let log = options.dir.join("rostrumd.log");
        let (program, panel) = Self::spawn(options.profile, &file, &log)?;
        Ok(Self { program, panel, config: file, profile: options.profile.into(), log })
    }

    fn spawn(profile: &str, config: &Path, log: &Path) -> anyhow::Result<(Running, Panel)> {
        let mut command = Command::new(paths::program(profile, "rostrumd"));
        command.arg("--config").arg(config);
        let mut program = Running::start("rostrumd", log.to_owned(), &mut command)?;
        let url =
            program.line(READY, |line| line.strip_prefix("rostrumd ready panel=").map(str::to_owned))?;
        Ok((program, Panel::at(url)))
    }

    /// Starts it again after it was killed, as systemd would.
    ///
    /// # Errors
    /// As [`Terminal::start`].
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let (program, panel) = Self::spawn(&self.profile, &self.config, &self.log)?;
        self.program = program;
        self.panel = panel;
        Ok(())
    }

    /// As [`Panel::api`].
    ///
    /// # Errors
    /// As there.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        self.panel.api(method, path, body)
    }

    /// As [`Panel::state`].
    ///
    /// # Errors
    /// As there.
    pub fn state(&self) -> anyhow::Result<Value> {
        self.panel.state()
    }

    /// As [`Panel::wait_for`].
    ///
    /// # Errors
    /// As there.
    pub fn wait_for(
        &self,
        what: &str,
        timeout: Duration,
        accept: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        self.panel.wait_for(what, timeout, accept)
    }
}

/// The REST interface of a terminal's panel.
pub struct Panel {
    /// `http://ADDRESS:PORT`.
    pub url: String,
    /// What a login gave, where one is needed.
    cookie: Option<String>,
}

impl Panel {
    /// A panel that needs no login.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), cookie: None }
    }

    /// Sets the first password of a panel that is reached over a network, or logs in with it where there is one, and is
    /// logged in from then on.
    ///
    /// # Errors
    /// When the panel does not answer, or has another password.
    pub fn log_in(&mut self, password: &str) -> anyhow::Result<()> {
        let send = |path: &str| {
            let url = format!("{}/api/v1/{path}", self.url);
            let request = agent().post(&url).header("Content-Type", "application/json");
            request.send(json!({"password": password}).to_string()).with_context(|| format!("POST {url}"))
        };
        let mut response = send("password")?;
        if response.status() == ureq::http::StatusCode::CONFLICT {
            response = send("session")?;
        }
        if !response.status().is_success() {
            bail!("the login answered {}: {}", response.status(), response.body_mut().read_to_string()?);
        }
        let cookie = response.headers().get("Set-Cookie").context("the login gave no cookie")?.to_str()?;
        self.cookie = cookie.split(';').next().map(str::to_owned);
        Ok(())
    }

    /// Calls the panel's REST interface: `path` below `/api/v1`.
    ///
    /// # Errors
    /// When the answer is not a success; the message holds it.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let login = self.cookie.as_deref().map(|cookie| ("Cookie", cookie));
        http(method, &format!("{}/api/v1{path}", self.url), login, body)
    }

    /// The panel's state.
    ///
    /// # Errors
    /// When the panel does not answer.
    pub fn state(&self) -> anyhow::Result<Value> {
        self.api("GET", "/state", None)
    }

    /// Waits until `accept` holds of the state.
    ///
    /// # Errors
    /// When it does not within `timeout`; the message holds the last state.
    pub fn wait_for(
        &self,
        what: &str,
        timeout: Duration,
        accept: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let deadline = Instant::now() + timeout;
        loop {
            let state = self.state()?;
            if accept(&state) {
                return Ok(state);
            }
            if Instant::now() >= deadline {
                bail!("{what} was not seen within {timeout:?}; the last state was {state}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Number in the bar of the virtual camera of `user`'s room, so that tests tell rooms apart.
pub fn camera_id(user: &str) -> u8 {
    user.bytes().fold(1, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte))
}

/// One HTTP request with a JSON body and a JSON answer (`Null` when it is empty); `login` is a header.
///
/// # Errors
/// When the answer is not a success; the message holds it.
pub fn http(
    method: &str,
    url: &str,
    login: Option<(&str, &str)>,
    body: Option<&Value>,
) -> anyhow::Result<Value> {
    let agent = agent();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some((header, value)) = login {
        request = request.header(header, value);
    }
    let mut response = match body {
        Some(body) => {
            let request = request.header("Content-Type", "application/json").body(body.to_string())?;
            agent.run(request)
        }
        None => agent.run(request.body(())?),
    }
    .with_context(|| format!("{method} {url}"))?;
    let text = response.body_mut().read_to_string()?;
    if !response.status().is_success() {
        bail!("{method} {url} answered {}: {text}", response.status());
    }
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Headers, names in lower case, and body.
pub type Answer = (Vec<(String, String)>, Vec<u8>);

/// Headers and body of one GET request.
///
/// # Errors
/// When the answer is not a success.
pub fn http_bytes(url: &str) -> anyhow::Result<Answer> {
    let mut response = agent().get(url).call().with_context(|| format!("GET {url}"))?;
    anyhow::ensure!(response.status().is_success(), "GET {url} answered {}", response.status());
    let headers = response.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
    let headers = headers.collect();
    let body = response.body_mut().with_config().limit(64 << 20).read_to_vec()?;
    Ok((headers, body))
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .http_status_as_error(false)
        .build()
        .into()
}

pub(crate) fn random_hex() -> anyhow::Result<String> {
    use std::io::Read;
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
