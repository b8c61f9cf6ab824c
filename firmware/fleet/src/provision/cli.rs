//! The commands of `rostrum-provision`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::{Args, Parser, Subcommand};
use p256::elliptic_curve::rand_core::OsRng;
use rostrum_hal::identity::Udid;
use url::Url;

use super::{
    ProvisionError,
    bench_key::{BenchKey, BenchPublic},
    disk::Disk,
    factory::{self, Contents, DeviceKeyText, Verified},
    label::Label,
    ledger::Ledger,
    record::Event,
    register::Registration,
    seal, serial,
};
use crate::{
    device_key::file,
    site::{self, Name, Site},
};

/// Gives terminals their name, their key and their site on the bench, prints their labels and keeps a signed record.
///
/// A terminal's disk is flashed first (see yocto/FLASHING.md); then `write` fills its factory partition, `label` makes what
/// is stuck on it, and `register` makes it known to the service.
#[derive(Parser)]
#[command(name = "rostrum-provision", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the key with which this bench signs its record and seals images; prints its public half.
    BenchKey {
        /// File for the key, which nobody else may read. Keep a copy in a safe place.
        #[arg(long, default_value = "bench.pem")]
        key: PathBuf,
        /// Print the public half of the key that is there, and make none.
        #[arg(long)]
        show: bool,
    },
    /// Prints a site file with every key.
    SiteExample,
    /// Writes Udid, key and site file to the factory partition of a disk or an image, and to the record.
    Write(Write),
    /// Reads a factory partition back, and proves that this bench wrote it and that nothing was changed since.
    Verify(Read),
    /// Makes the label of a terminal: SVG and PNG, 50 mm by 25 mm, with a QR code by which it is registered.
    Label(LabelOptions),
    /// Prints what makes a terminal known to the service, or tells it.
    Register(Register),
    /// Writes block map, checksum and signature beside an image; of a compressed one, or a bundle, the latter two.
    Seal {
        /// The image.
        image: PathBuf,
        /// The bench's key.
        #[arg(long, default_value = "bench.pem")]
        key: PathBuf,
    },
}

#[derive(Args)]
struct Write {
    /// A flashed disk such as /dev/sdb, or an image that is not flashed yet.
    disk: PathBuf,
    /// The terminal's name for life: 1 to 64 characters out of A-Z a-z 0-9 _ -
    #[arg(long, required_unless_present = "prefix", conflicts_with = "prefix")]
    udid: Option<String>,
    /// Take the next name with this prefix and a number that the record has not given away.
    #[arg(long)]
    prefix: Option<String>,
    /// The first number.
    #[arg(long, default_value_t = 1, requires = "prefix")]
    serial_from: u64,
    /// Digits of a number.
    #[arg(long, default_value_t = 4, requires = "prefix", value_parser = clap::value_parser!(u8).range(1..=19))]
    digits: u8,
    /// The site file (`rostrum-provision site-example`).
    #[arg(long)]
    site: PathBuf,
    /// The room's channel, in the place of the site file's.
    #[arg(long)]
    channel: Option<String>,
    /// The room's UserId, in the place of the site file's.
    #[arg(long)]
    user: Option<String>,
    /// The name that others see, in the place of the site file's.
    #[arg(long)]
    display_name: Option<String>,
    /// Write no key: the terminal makes its own, in a TPM or another token (`rostrumd device-key --make`).
    #[arg(long)]
    no_device_key: bool,
    /// File with the terminal's token for the update server in its first line, which nobody else may read.
    #[arg(long, value_name = "FILE")]
    update_token: Option<PathBuf>,
    /// Number of a group on the terminal that may read key and token; only root may when it is left out.
    #[arg(long, value_name = "GID")]
    key_group: Option<u32>,
    /// The bench's record; begun when it is not there.
    #[arg(long, default_value = "record.jsonl")]
    record: PathBuf,
    /// The bench's key.
    #[arg(long, default_value = "bench.pem")]
    key: PathBuf,
    /// The name, or the disk, was used before, and is to be used again: a repaired terminal, a write that a crash cut.
    #[arg(long)]
    replace: bool,
}

#[derive(Args)]
struct Read {
    /// A disk such as /dev/sdb, or an image.
    disk: PathBuf,
    /// The public half of the key of the bench that wrote it.
    #[arg(long, value_name = "FILE")]
    public: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct LabelOptions {
    /// The terminal's disk or image, which says what goes on its label ...
    #[arg(long, required_unless_present = "udid", conflicts_with_all = ["udid", "device_key"], requires = "public")]
    disk: Option<PathBuf>,
    /// The public half of the bench's key, to prove the disk.
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
    /// ... or its name ...
    #[arg(long)]
    udid: Option<String>,
    /// ... and the line of its key (`rostrumd device-key`).
    #[arg(long, value_name = "LINE")]
    device_key: Option<String>,
    /// Folder for UDID.svg and UDID.png.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

#[derive(Args)]
struct Register {
    #[command(flatten)]
    read: Read,
    /// A channel that it may join, given as often as there are; all of the application's when there is none.
    #[arg(long = "channel")]
    channels: Vec<String>,
    /// The only user that it may be.
    #[arg(long)]
    user: Option<String>,
    /// The service's address; without it the request is printed.
    #[arg(long, requires = "credentials")]
    service: Option<Url>,
    /// File with `AppId:AppKey` of the application that it belongs to.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
}

/// Does what the command line says, and gives what to print.
///
/// # Errors
/// For the person at the bench.
pub fn run(cli: Cli, now: SystemTime) -> Result<String, ProvisionError> {
    match cli.command {
        Command::BenchKey { key, show: true } => BenchKey::open(&key)?.public().to_pem(),
        Command::BenchKey { key, show: false } => BenchKey::make(&key, &mut OsRng)?.public().to_pem(),
        Command::SiteExample => Ok(site::EXAMPLE.into()),
        Command::Write(options) => write(&options, now),
        Command::Verify(read) => verify(&read),
        Command::Label(options) => label(&options),
        Command::Register(options) => register(&options),
        Command::Seal { image, key } => {
            let sealed = seal::seal(&image, &BenchKey::open(&key)?)?;
            let files: String = sealed.files.iter().map(|file| format!("{}\n", file.display())).collect();
            Ok(format!("{files}sha256 {}, {} bytes hold something", sealed.sha256, sealed.mapped_bytes))
        }
    }
}

fn write(options: &Write, now: SystemTime) -> Result<String, ProvisionError> {
    let key = BenchKey::open(&options.key)?;
    let site = site_text(options)?;
    let mut ledger = Ledger::open(&options.record, &key.public())?;
    let udid = match (&options.udid, &options.prefix) {
        (_, Some(prefix)) => {
            serial::next(prefix, options.serial_from, options.digits, ledger.record().udids())?
        }
        (udid, None) => udid_of(udid.as_deref().unwrap_or_default())?,
    };
    ledger.refuse_used(&udid, options.replace)?;
    let mut disk = Disk::exclusive(&options.disk)?;
    if !options.replace {
        refuse_provisioned(&mut disk, &options.disk)?;
    }
    let device_key = (!options.no_device_key).then(|| DeviceKeyText::make(&mut OsRng)).transpose()?;
    let public_key = device_key.as_ref().map(DeviceKeyText::public_line).transpose()?;
    let update_token = options.update_token.as_deref().map(token).transpose()?;
    let event = Event::Given {
        udid: udid.clone(),
        public_key: public_key.clone(),
        site_sha256: factory::sha256(&site),
        update_token_sha256: update_token.as_deref().map(factory::sha256),
        replaces: options.replace,
    };
    let time_unix_s = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let line = ledger.draft(event, time_unix_s, &key)?;
    let contents = Contents { udid: udid.clone(), site, device_key, update_token, record: line.clone() };
    let bytes = factory::file_system(&contents, disk.factory_length(), options.key_group)?;
    // From here on the name is used, whatever happens.
    ledger.append(&line)?;
    disk.write_factory(&bytes)?;
    let written = ledger.draft(Event::Written { udid: udid.clone() }, time_unix_s, &key)?;
    ledger.append(&written)?;
    let key_line = public_key.as_deref().unwrap_or("made by the terminal itself");
    Ok(format!("udid {udid}\ndevice-key {key_line}"))
}

/// The first line of a file.
fn token(path: &Path) -> Result<String, ProvisionError> {
    let text = file::secret_text(path)?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        let (place, source) = (path.display().to_string(), std::io::ErrorKind::InvalidData.into());
        return Err(ProvisionError::Io { place, source });
    }
    Ok(token.into())
}

/// The site file with what the command line says in its place.
fn site_text(options: &Write) -> Result<String, ProvisionError> {
    let mut site: Site = site::read(&options.site)?;
    let name = |text: &Option<String>| text.clone().map(Name::try_from).transpose();
    let service = &mut site.service;
    service.channel = name(&options.channel)?.or(service.channel.take());
    service.user = name(&options.user)?.or(service.user.take());
    service.display_name = name(&options.display_name)?.or(service.display_name.take());
    toml::to_string(&site).map_err(|error| ProvisionError::Factory { message: error.to_string() })
}

/// A disk that is some terminal's already.
fn refuse_provisioned(disk: &mut Disk, path: &Path) -> Result<(), ProvisionError> {
    // What cannot be read is nobody's: a fresh image, or what a crash left of a write, whose name the record refuses.
    match factory::owner(disk.read_factory()?) {
        Some(udid) => Err(ProvisionError::Provisioned { place: path.display().to_string(), udid }),
        None => Ok(()),
    }
}

fn prove(disk: &Path, public: &Path) -> Result<Verified, ProvisionError> {
    let contents = factory::read(Disk::read_only(disk)?.read_factory()?)?;
    factory::verify(&contents, &BenchPublic::open(public)?)
}

fn verify(read: &Read) -> Result<String, ProvisionError> {
    let verified = prove(&read.disk, &read.public)?;
    let key = verified.public_key.as_deref();
    if read.json {
        let told = serde_json::json!({
            "udid": verified.udid, "public_key": key, "record_line": verified.entry.sequence,
            "time_unix_s": verified.entry.time_unix_s, "bench": verified.entry.bench, "site": verified.site,
        });
        return Ok(told.to_string());
    }
    Ok(format!(
        "udid {}\ndevice-key {}\nwritten by bench {} in line {} of its record",
        verified.udid,
        key.unwrap_or("made by the terminal itself"),
        verified.entry.bench,
        verified.entry.sequence
    ))
}

fn label(options: &LabelOptions) -> Result<String, ProvisionError> {
    let (udid, key) = match (&options.disk, &options.public, &options.udid) {
        (Some(disk), Some(public), _) => {
            let verified = prove(disk, public)?;
            (verified.udid, verified.public_key)
        }
        (_, _, udid) => (udid_of(udid.as_deref().unwrap_or_default())?, options.device_key.clone()),
    };
    let label = Label::new(&udid, key.as_deref())?;
    let mut files = Vec::new();
    for (extension, bytes) in [("svg", label.svg().into_bytes()), ("png", label.png()?)] {
        let path = options.folder.join(format!("{udid}.{extension}"));
        fs::write(&path, bytes).map_err(ProvisionError::at(&path))?;
        files.push(path.display().to_string());
    }
    Ok(files.join("\n"))
}

fn register(options: &Register) -> Result<String, ProvisionError> {
    let verified = prove(&options.read.disk, &options.read.public)?;
    let none = || ProvisionError::Factory {
        message: "it has no key, as the terminal makes its own; register the line of `rostrumd device-key`"
            .into(),
    };
    let registration = Registration {
        udid: verified.udid,
        public_key: verified.public_key.ok_or_else(none)?,
        channels: options.channels.iter().cloned().map(Name::try_from).collect::<Result<_, _>>()?,
        user: options.user.clone().map(Name::try_from).transpose()?,
    };
    let (path, body) = registration.request();
    if let (Some(service), Some(path)) = (&options.service, &options.credentials) {
        let credentials = file::secret_text(path)?;
        registration.send(service, &credentials)?;
        return Ok(format!("{service} knows {}", registration.udid));
    }
    Ok(format!("PUT {path}\n{body}"))
}

fn udid_of(text: &str) -> Result<Udid, ProvisionError> {
    Udid::new(text).map_err(|error| ProvisionError::Factory { message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
