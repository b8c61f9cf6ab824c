//! What can happen to a room.

use rostrum_hal::buttons::ButtonRole;

/// Something that happened. The shell hands each one to [`crate::Room::handle`] once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Somebody pressed a button down (not: let it go).
    Button(ButtonRole),
    /// Somebody let a button go, or it is not known any more to be down: it was unplugged, or is being tested.
    ButtonReleased(ButtonRole),
    /// The panel asks.
    Request(Request),
    /// Position of the hardware mute switch, at start and whenever it moves; `cut` cuts the microphones.
    MuteSwitch {
        /// `true` cuts the microphones.
        cut: bool,
    },
    /// Position of the camera's cover, at start and whenever it moves.
    CameraCover {
        /// `true` when nobody can see the room.
        covered: bool,
    },
    /// What the presence sensor says, at start and whenever it changes. A room whose sensor cannot be read is
    /// told as occupied; one without a sensor is told nothing.
    Presence {
        /// `true` when somebody is there.
        occupied: bool,
    },
    /// We are in the channel: the first time, or again after [`Event::Lost`].
    Joined,
    /// The connection is gone, or a try to join failed for a reason that may pass. The shell goes on trying by itself.
    Lost {
        /// What went wrong, for people; without tokens, keys or names of persons.
        reason: String,
    },
    /// The shell tries again.
    Rejoining,
    /// The service put us out, or refused us.
    LeftByService {
        /// What the service said, for people.
        reason: String,
        /// `true` when trying again makes no sense (replaced elsewhere, removed, refused); `false` when
        /// the shell goes on trying by itself.
        last: bool,
    },
    /// The answer to [`crate::Command::Leave`]: we are out, cleanly or not.
    Left,
    /// The service says that the far end muted us. It can mute a room, never unmute it.
    FarEndMuted {
        /// What the far end wants.
        muted: bool,
    },
    /// A part of the terminal failed. Repeating it is harmless.
    Faulty {
        /// Which.
        part: Part,
        /// What the driver said, for people.
        detail: String,
    },
    /// A part of the terminal works (again). Outputs that depend on it are commanded anew. Of the mute
    /// switch only [`Event::MuteSwitch`] is believed.
    Healthy {
        /// Which.
        part: Part,
    },
    /// [`crate::Command::FactoryReset`] could not be begun.
    ResetFailed {
        /// What the system said, for people.
        detail: String,
    },
    /// A new version of the terminal's software comes, or does not any more.
    Update(Option<Update>),
    /// The program is to end: leave, then [`crate::Command::Exit`].
    Shutdown,
    /// Time passed. Send one at start and then about once a second; ten times a second while
    /// [`crate::Room::is_held`].
    Tick,
}

/// How far a new version of the terminal's software is, when people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// It is being written.
    Installing,
    /// The terminal restarts into it.
    Restarting,
    /// It shows that it is good.
    Checking,
}

/// What the panel can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Join the room's channel.
    Join,
    /// Leave it.
    Leave,
    /// Mute or unmute.
    SetMuted(bool),
    /// The other way round.
    ToggleMute,
    /// Volume of the speaker in percent; more than 100 counts as 100.
    SetVolume(u8),
    /// Whether the next meetings are joined muted.
    SetJoinMuted(bool),
    /// Reset the terminal to factory now: whoever asks was asked whether they mean it.
    FactoryReset,
}

/// A part of the terminal that can fail by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// The camera.
    Camera,
    /// The video encoder.
    Encoder,
    /// The microphones, or the thread that reads them. While they are faulty, and after, the room is muted.
    Microphones,
    /// Some microphones of the array; the others do their work.
    ArrayMicrophones,
    /// The speaker.
    Speaker,
    /// The screen.
    Display,
    /// The second screen, which has what is shared. While it is faulty the first shows that too.
    ContentDisplay,
    /// The hardware mute switch. While it cannot be read the room is muted.
    MuteSwitch,
    /// The light that shows mute. When it fails the room is muted; people may unmute it on purpose.
    MuteLight,
    /// The light that shows the state.
    StatusLight,
    /// The light that shows that there is a meeting.
    MeetingLight,
    /// The buttons.
    Buttons,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Camera,
        Self::Encoder,
        Self::Microphones,
        Self::ArrayMicrophones,
        Self::Speaker,
        Self::Display,
        Self::ContentDisplay,
        Self::MuteSwitch,
        Self::MuteLight,
        Self::StatusLight,
        Self::MeetingLight,
        Self::Buttons,
    ];
}
