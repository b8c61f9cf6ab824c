//! The agent of a hawkBit server (Direct Device Integration API): asks it, tells it, and keeps at it.

pub mod messages;
pub mod schedule;

use std::{collections::BTreeMap, time::Duration};

use rand::Rng;
use tokio::sync::mpsc;
use url::Url;

use self::{
    messages::{Execution, MessageError},
    schedule::Schedule,
};
use super::{
    http::{Http, HttpError},
    machine::{Event, News},
    record::{End, Outcome},
};

/// What the agent is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Ask the server now.
    Poll,
    /// Tell the server how an action goes.
    Tell {
        /// The action.
        action: String,
        /// How it goes.
        news: News,
    },
    /// Tell the server how an action ended, until it takes it.
    End(Outcome),
}

/// The agent.
pub struct Agent {
    /// The way to the server.
    pub http: Http,
    /// `.../{tenant}/controller/v1/{name}`, without a slash at its end.
    pub base: Url,
    /// What the server is told of this terminal.
    pub attributes: Vec<(&'static str, String)>,
    /// When it is asked.
    pub schedule: Schedule,
    /// To the machine.
    pub events: mpsc::UnboundedSender<Event>,
}

/// State of the agent between two polls.
#[derive(Default)]
struct Known {
    /// The cancelling's own id of each action that is to be cancelled.
    cancels: BTreeMap<String, String>,
    /// Whether this run of the program has told its attributes, and whether the server asked for them at the last poll.
    attributes_told: bool,
    attributes_asked: bool,
    /// What is to be told when the server can be reached again.
    ends: Vec<Outcome>,
}

/// Why a poll failed.
#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("the update server gives an address that is none: {0}")]
    Address(String),
}

impl Agent {
    /// Works until nobody asks any more.
    pub async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let mut known = Known::default();
        let mut failing = false;
        loop {
            let random = rand::rng().random();
            let pause = match self.poll(&mut known).await {
                Ok(sleep) => {
                    if std::mem::take(&mut failing) {
                        log::info!("the update server answers again");
                    }
                    self.schedule.after_success(sleep, random)
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        log::warn!(error:%; "the update server cannot be asked; trying again");
                    }
                    let asked = match &error {
                        PollError::Http(error) => error.retry_after(),
                        _ => None,
                    };
                    self.schedule.after_failure(asked, random)
                }
            };
            let next = tokio::time::Instant::now() + pause;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => break,
                    request = requests.recv() => match request {
                        None => return,
                        Some(Request::Poll) => break,
                        Some(request) => self.serve(request, &mut known).await,
                    },
                }
            }
        }
    }

    async fn serve(&self, request: Request, known: &mut Known) {
        match request {
            Request::Poll => {}
            Request::Tell { action, news } => {
                if let Err(error) = self.tell(&action, &news, known).await {
                    // What counts is the end, which is kept.
                    log::info!(error:%; "the update server was not told how it goes");
                }
            }
            Request::End(outcome) => {
                if !known.ends.iter().any(|end| end.number == outcome.number) {
                    known.ends.push(outcome);
                }
                self.tell_ends(known).await;
            }
        }
    }

    async fn poll(&self, known: &mut Known) -> Result<Option<Duration>, PollError> {
        let poll = messages::poll(&self.http.get(&self.base).await?)?;
        self.tell_ends(known).await;
        self.tell_attributes(poll.config_data.as_deref(), known).await?;
        known.cancels.clear();
        if let Some(href) = &poll.cancel {
            let cancel = messages::cancel(&self.http.get(&address(href)?).await?)?;
            known.cancels.insert(cancel.action.clone(), cancel.id);
            self.event(Event::Withdrawn { action: cancel.action });
        } else if let Some(href) = &poll.deployment {
            self.offered(href, false).await?;
        } else if let Some(href) = &poll.confirmation {
            self.offered(href, true).await?;
        } else {
            self.event(Event::NothingOffered);
        }
        Ok(poll.sleep_s.map(Duration::from_secs))
    }

    /// Told once after each start, as the version may be another, and whenever the server asks anew. hawkBit asks new
    /// terminals, after each of its updates, and when a person wants it, but knows nothing of an update from a stick; other
    /// servers always ask.
    async fn tell_attributes(&self, asked: Option<&str>, known: &mut Known) -> Result<(), PollError> {
        let asks_anew = asked.is_some() && !known.attributes_asked;
        if !known.attributes_told || asks_anew {
            let attributes: Vec<_> =
                self.attributes.iter().map(|(key, value)| (*key, value.as_str())).collect();
            let body = messages::attributes(&attributes);
            match asked {
                Some(href) => self.http.put(&address(href)?, &body).await?,
                None => {
                    let unasked = address(&format!("{}/configData", self.base))?;
                    if let Err(error) = self.http.put(&unasked, &body).await {
                        log::info!(error:%; "the update server did not want to know what it did not ask for");
                    }
                }
            }
            known.attributes_told = true;
        }
        known.attributes_asked = asked.is_some();
        Ok(())
    }

    async fn offered(&self, href: &str, asks: bool) -> Result<(), PollError> {
        match messages::deployment(&self.http.get(&address(href)?).await?, asks) {
            Ok(offer) => self.event(Event::Offered(offer)),
            Err(
                ref error @ (MessageError::NotOneBundle { ref action, .. }
                | MessageError::NoLink { ref action, .. }),
            ) => {
                self.event(Event::Unusable { action: action.clone(), text: error.to_string() });
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn tell(&self, action: &str, news: &News, known: &Known) -> Result<(), HttpError> {
        match news {
            News::Proceeding(text) => {
                self.feedback("deploymentBase", action, Execution::Proceeding, None, text).await
            }
            News::Downloaded => {
                let text = "the bundle is here";
                self.feedback("deploymentBase", action, Execution::Downloaded, None, text).await
            }
            News::TooLate => {
                let id = known.cancels.get(action).map_or(action, String::as_str);
                let text = "it is being installed and cannot be stopped";
                self.feedback("cancelAction", id, Execution::Rejected, None, text).await
            }
            News::Answer { yes } => {
                self.http.post(&self.place("confirmationBase", action), &messages::answer(*yes)).await
            }
        }
    }

    async fn feedback(
        &self,
        base: &str,
        id: &str,
        execution: Execution,
        finished: Option<bool>,
        text: &str,
    ) -> Result<(), HttpError> {
        self.http.post(&self.place(base, id), &messages::feedback(id, execution, finished, text)).await
    }

    fn place(&self, base: &str, id: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend([base, id, "feedback"]);
        }
        url
    }

    /// Tells how actions ended, oldest first; what the server does not take now it is told again.
    async fn tell_ends(&self, known: &mut Known) {
        while let Some(outcome) = known.ends.first().cloned() {
            let action = outcome.action.clone().unwrap_or_default();
            let result = match outcome.end {
                End::Cancelled => {
                    let id = known.cancels.get(&action).unwrap_or(&action);
                    self.feedback("cancelAction", id, Execution::Closed, Some(true), &outcome.text).await
                }
                End::Success | End::Failure => {
                    let body = messages::last_feedback(&action, &outcome);
                    self.http.post(&self.place("deploymentBase", &action), &body).await
                }
            };
            match result {
                Ok(()) => {}
                Err(error) if error.is_gone() => {
                    log::warn!(action = action.as_str(); "the update server does not know the action any more");
                }
                Err(error) => {
                    log::info!(error:%; "the update server was not told how it ended; telling it again");
                    return;
                }
            }
            known.ends.remove(0);
            self.event(Event::Told(outcome.number));
        }
    }

    fn event(&self, event: Event) {
        // The program ends when nobody listens.
        let _ = self.events.send(event);
    }
}

fn address(href: &str) -> Result<Url, PollError> {
    let url = Url::parse(href).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| PollError::Address(href.chars().take(200).collect()))
}
