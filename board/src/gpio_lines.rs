//! Lines of GPIO chips, through the kernel's character device
//! (`Documentation/userspace-api/gpio/chardev.rst`, uAPI v2, `include/uapi/linux/gpio.h`).
//!
//! The kernel debounces: `GPIO_V2_LINE_ATTR_ID_DEBOUNCE` works on chips that cannot do it themselves as well.
//! Waiting needs a tokio runtime with I/O and time; opening does not.

use std::{path::PathBuf, sync::Arc, time::Duration};

use gpiocdev::{
    Chip, Error, Request, UapiCall,
    line::{Config, EdgeDetection, EdgeEvent, Offset, Value},
};
use serde::Deserialize;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    error::Failure,
    probe::lines::{GpioChip, GpioLine},
};

/// Time after which a chip is looked at even when it tells nothing: kernels before 6.6 do not wake who waits
/// for a line whose chip is unplugged.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Stands as the consumer of a line in `gpioinfo`.
const CONSUMER: &str = "rostrum";

/// Keys of one line.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LineOptions {
    /// Its number on the chip, or its name.
    pub(crate) line: LineName,
    /// It is low when a button is pressed, a switch cuts or a lamp shines.
    #[serde(default)]
    pub(crate) active_low: bool,
    /// Resistor of the chip; left as it is when this is left out.
    pub(crate) bias: Option<Bias>,
}

/// How a profile names a line.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "a line is the number or the name of a line of the chip")]
pub(crate) enum LineName {
    Number(Offset),
    Name(String),
}

impl std::fmt::Display for LineName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Resistors that a chip may have behind a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bias {
    PullUp,
    PullDown,
    Disabled,
}

impl From<Bias> for gpiocdev::line::Bias {
    fn from(bias: Bias) -> Self {
        match bias {
            Bias::PullUp => Self::PullUp,
            Bias::PullDown => Self::PullDown,
            Bias::Disabled => Self::Disabled,
        }
    }
}

/// Milliseconds for which a contact bounces, when a profile does not say.
pub(crate) fn ten_milliseconds() -> u16 {
    10
}

/// Requests lines as inputs that tell both edges; gives their numbers in the order of `lines`.
pub(crate) fn request_inputs(
    chip: &str,
    lines: &[&LineOptions],
    debounce: Duration,
) -> Result<(Edges, Vec<Offset>), Failure> {
    let (request, offsets) = request(chip, lines, |config| {
        config.with_edge_detection(EdgeDetection::BothEdges).with_debounce_period(debounce);
    })?;
    Ok((Edges { watched: None, request: Arc::new(request) }, offsets))
}

/// Requests lines as outputs that are not active; gives their numbers in the order of `lines`.
pub(crate) fn request_outputs(chip: &str, lines: &[&LineOptions]) -> Result<(Request, Vec<Offset>), Failure> {
    request(chip, lines, |config| {
        config.as_output(Value::Inactive);
    })
}

fn request(
    chip: &str,
    lines: &[&LineOptions],
    direct: impl Fn(&mut Config),
) -> Result<(Request, Vec<Offset>), Failure> {
    let unusable = |message: String| Failure::Unusable { name: format!("the GPIO chip {chip}"), message };
    let path = find_chip(chip, &chips())?;
    let opened = Chip::from_path(&path).map_err(|e| unusable(e.to_string()))?;
    let offsets = lines.iter().map(|line| find_line(chip, &opened, line)).collect::<Result<Vec<_>, _>>()?;
    let mut builder = Request::builder();
    builder.on_chip(path).with_consumer(CONSUMER);
    for (offset, line) in offsets.iter().zip(lines) {
        let mut config =
            Config { active_low: line.active_low, bias: line.bias.map(Into::into), ..Config::default() };
        direct(&mut config);
        builder.with_line(*offset).from_line_config(&config);
    }
    let request = builder.request().map_err(|error| {
        let used = |offset: &&Offset| opened.line_info(**offset).is_ok_and(|line| line.used);
        match offsets.iter().find(used).and_then(|offset| opened.line_info(*offset).ok()) {
            Some(line) => unusable(format!("its line {} is used by {}", line.offset, line.consumer)),
            None => unusable(reason(&error)),
        }
    })?;
    Ok((request, offsets))
}

/// What the kernel said, without the name of the call where that helps nobody.
pub(crate) fn reason(error: &Error) -> String {
    match error {
        Error::Uapi(UapiCall::GetLine, source) => {
            format!("{source}; not every chip has resistors, or tells edges")
        }
        Error::Uapi(_, source) => source.to_string(),
        other => other.to_string(),
    }
}

/// Every chip with its lines, for `probe`.
pub(crate) fn listing() -> Vec<GpioChip> {
    let listed = chips().into_iter().map(|FoundChip { path, name, label }| {
        let opened = Chip::from_path(&path);
        let lines: Vec<_> = opened.iter().flat_map(Chip::line_info_iter).flatten().flatten().collect();
        let count = lines.len();
        let lines = lines.into_iter().filter(|line| !line.name.is_empty() || line.used);
        let lines = lines.map(|line| GpioLine {
            number: line.offset,
            name: line.name,
            used_by: line.used.then_some(line.consumer),
        });
        GpioChip { name, label, count, lines: lines.collect() }
    });
    listed.collect()
}

/// A chip that is there.
struct FoundChip {
    path: PathBuf,
    /// Such as `gpiochip0`; may change from start to start.
    name: String,
    /// Such as `pinctrl-bcm2711`; given by its driver.
    label: String,
}

fn chips() -> Vec<FoundChip> {
    let paths = gpiocdev::chip::chips().unwrap_or_default();
    let found = paths.into_iter().map(|path| match Chip::from_path(&path).and_then(|chip| chip.info()) {
        Ok(info) => FoundChip { path, name: info.name, label: info.label },
        Err(error) => FoundChip {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            label: reason(&error),
            path,
        },
    });
    found.collect()
}

/// The chip that has `wanted` as its label, or else as its name or path.
fn find_chip(wanted: &str, chips: &[FoundChip]) -> Result<PathBuf, Failure> {
    let name = format!("the GPIO chip {wanted}");
    let list = |chips: &mut dyn Iterator<Item = &FoundChip>| {
        chips.map(|chip| format!("{} ({})", chip.name, chip.label)).collect::<Vec<_>>().join(", ")
    };
    let labelled: Vec<_> = chips.iter().filter(|chip| chip.label == wanted).collect();
    let named = || chips.iter().find(|chip| chip.name == wanted || chip.path.as_os_str() == wanted);
    match (labelled.as_slice(), named()) {
        (&[chip], _) | ([], Some(chip)) => Ok(chip.path.clone()),
        ([], None) if chips.is_empty() => {
            let hint = "there is no GPIO chip under /dev that may be read".into();
            Err(Failure::Absent { name, hint })
        }
        ([], None) => Err(Failure::Absent { name, hint: format!("there are {}", list(&mut chips.iter())) }),
        (several, _) => {
            let several = list(&mut several.iter().copied());
            Err(Failure::Unusable { name, message: format!("there are {several}; choose one by its name") })
        }
    }
}

/// A line that a chip lacks does not come later either.
fn find_line(chip: &str, opened: &Chip, wanted: &LineOptions) -> Result<Offset, Failure> {
    let lines: Vec<_> = opened.line_info_iter().into_iter().flatten().flatten().collect();
    let name = format!("the line {} of the GPIO chip {chip}", wanted.line);
    match &wanted.line {
        LineName::Number(number) if lines.iter().any(|line| line.offset == *number) => Ok(*number),
        LineName::Number(_) => {
            Err(Failure::Unusable { name, message: format!("it has {} lines", lines.len()) })
        }
        LineName::Name(text) => match lines.iter().find(|line| line.name == *text) {
            Some(line) => Ok(line.offset),
            None => {
                let names: Vec<_> =
                    lines.iter().map(|line| line.name.as_str()).filter(|name| !name.is_empty()).collect();
                let names = if names.is_empty() { "none".into() } else { names.join(", ") };
                Err(Failure::Unusable { name, message: format!("its lines with names: {names}") })
            }
        },
    }
}

/// Lines that were requested as inputs.
pub(crate) struct Edges {
    /// Made when first waited for, as it needs the runtime. Before `request`, whose descriptor it watches.
    watched: Option<AsyncFd<Arc<Request>>>,
    request: Arc<Request>,
}

impl Edges {
    /// Whether a line is active now, after debouncing.
    pub(crate) fn is_active(&self, line: Offset) -> Result<bool, String> {
        self.request.value(line).map(|value| value == Value::Active).map_err(|e| reason(&e))
    }

    /// Waits for the next edge; `None` when none came for [`LOOK_AGAIN`]. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<EdgeEvent>, String> {
        tokio::time::timeout(LOOK_AGAIN, self.edge()).await.map_or(Ok(None), |edge| edge.map(Some))
    }

    async fn edge(&mut self) -> Result<EdgeEvent, String> {
        let watched = match &mut self.watched {
            Some(watched) => watched,
            unwatched => unwatched.insert(watch(&self.request).map_err(|e| e.to_string())?),
        };
        loop {
            let mut ready = watched.readable().await.map_err(|e| e.to_string())?;
            match read_edge(&self.request) {
                Ok(Some(edge)) => return Ok(edge),
                Ok(None) => ready.clear_ready(),
                Err(error) => return Err(reason(&error)),
            }
        }
    }
}

/// Puts the descriptor of `request` into the runtime.
#[allow(unsafe_code)]
fn watch(request: &Arc<Request>) -> std::io::Result<AsyncFd<Arc<Request>>> {
    // SAFETY: the request owns its file, which is closed when the last of the `Arc`s is dropped; one of them
    // is in the `AsyncFd`. It gives the same descriptor always.
    let watched = unsafe { AsyncFd::register_with_interest(Arc::clone(request), Interest::READABLE) };
    Ok(watched?)
}

/// The oldest edge that the kernel keeps. Not `Request::read_edge_event`, which reads eight and gives one.
fn read_edge(request: &Request) -> Result<Option<EdgeEvent>, Error> {
    if !request.has_edge_event()? {
        return Ok(None);
    }
    let mut words = vec![0; request.edge_event_u64_size()];
    let count = request.read_edge_events_into_slice(&mut words)?;
    request.edge_event_from_slice(&words[..count]).map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn chip(number: u32, label: &str) -> FoundChip {
        let name = format!("gpiochip{number}");
        FoundChip { path: format!("/dev/{name}").into(), name, label: label.into() }
    }

    #[test]
    fn a_chip_is_found_by_its_label_whatever_its_number() {
        let chips = [chip(0, "raspberrypi-exp-gpio"), chip(1, "pinctrl-bcm2711"), chip(2, "gpiochip0")];
        let found = |wanted| find_chip(wanted, &chips).unwrap();
        assert_eq!(found("pinctrl-bcm2711"), PathBuf::from("/dev/gpiochip1"));
        assert_eq!(found("gpiochip1"), PathBuf::from("/dev/gpiochip1"));
        assert_eq!(found("gpiochip0"), PathBuf::from("/dev/gpiochip2"), "the label goes before the name");
        assert_eq!(found("/dev/gpiochip0"), PathBuf::from("/dev/gpiochip0"));
    }

    #[test]
    fn an_absent_chip_gives_those_that_are_there() {
        let error = find_chip("gpiochip9", &[chip(0, "a"), chip(1, "b")]).unwrap_err().to_string();
        assert_eq!(error, "the GPIO chip gpiochip9 is not there; there are gpiochip0 (a), gpiochip1 (b)");
        assert!(find_chip("a", &[]).unwrap_err().to_string().contains("no GPIO chip under /dev"));
    }

    #[test]
    fn two_chips_of_one_label_are_not_guessed_at() {
        let error = find_chip("expander", &[chip(0, "expander"), chip(1, "expander")]).unwrap_err();
        assert!(error.to_string().contains("choose one by its name"), "{error}");
    }

    #[test]
    fn a_line_is_named_by_number_or_name() {
        let line = |text: &str| toml::from_str::<LineOptions>(text);
        assert_eq!(line("line = 8").unwrap().line, LineName::Number(8));
        let named = line("line = \"CALL\"\nactive_low = true\nbias = \"pull_up\"").unwrap();
        assert_eq!((named.line, named.bias), (LineName::Name("CALL".into()), Some(Bias::PullUp)));
        let error = line("line = -1").unwrap_err().to_string();
        assert!(error.contains("the number or the name"), "{error}");
        assert!(line("line = 8\nbias = \"up\"").unwrap_err().to_string().contains("`pull_up`"));
    }
}
