//! Whether the room may be heard: one truth out of everything that can mute it.

/// Why the room is muted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MuteReason {
    /// It is in no meeting.
    NotInMeeting,
    /// The hardware switch cuts the microphones.
    Switch,
    /// The hardware switch cannot be read.
    SwitchFault,
    /// The microphones do not work, or did not and nobody has unmuted the room since.
    MicrophonesFault,
    /// The mute light failed and nobody has unmuted the room since.
    LightFault,
    /// The button in the room.
    Button,
    /// The panel's page.
    Page,
    /// Somebody at the far end, or the service.
    FarEnd,
    /// The meeting was joined muted, by the setting.
    JoinedMuted,
}

/// Everything that has a say. It starts muted: a room that just woke up is not heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mute {
    /// People's wish, or what took its place; `None` is "be heard".
    wish: Option<MuteReason>,
    in_meeting: bool,
    switch_cut: bool,
    switch_fault: bool,
    microphones_fault: bool,
}

impl Mute {
    pub(crate) fn new() -> Self {
        Self {
            wish: Some(MuteReason::NotInMeeting),
            in_meeting: false,
            switch_cut: false,
            switch_fault: false,
            microphones_fault: false,
        }
    }

    pub(crate) fn muted(&self) -> bool {
        self.reason().is_some()
    }

    /// The reason that has to go first: what nobody can press away comes before people's wishes.
    pub(crate) fn reason(&self) -> Option<MuteReason> {
        self.forced().or(self.wish)
    }

    /// What holds the room muted whatever people wish.
    pub(crate) fn forced(&self) -> Option<MuteReason> {
        if !self.in_meeting {
            Some(MuteReason::NotInMeeting)
        } else if self.switch_fault {
            Some(MuteReason::SwitchFault)
        } else if self.switch_cut {
            Some(MuteReason::Switch)
        } else if self.microphones_fault {
            Some(MuteReason::MicrophonesFault)
        } else {
            None
        }
    }

    /// A meeting begins: heard, unless there is a reason `to_start_muted`. A hardware switch wins as ever.
    pub(crate) fn meeting_begins(&mut self, to_start_muted: Option<MuteReason>) {
        self.in_meeting = true;
        self.wish = if self.microphones_fault { Some(MuteReason::MicrophonesFault) } else { to_start_muted };
    }

    pub(crate) fn meeting_ends(&mut self) {
        self.in_meeting = false;
        self.wish = Some(MuteReason::NotInMeeting);
    }

    /// Silence is wished. The first reason stays.
    pub(crate) fn mute(&mut self, reason: MuteReason) {
        self.wish.get_or_insert(reason);
    }

    /// People in the room want to be heard. Refused with what holds it muted.
    pub(crate) fn unmute(&mut self) -> Result<(), MuteReason> {
        match self.forced() {
            Some(reason) => Err(reason),
            None => {
                self.wish = None;
                Ok(())
            }
        }
    }

    /// A position that can be read ends a fault of the switch.
    pub(crate) fn switch(&mut self, cut: bool) {
        self.switch_cut = cut;
        self.switch_fault = false;
    }

    pub(crate) fn switch_fault(&mut self) {
        self.switch_fault = true;
    }

    /// Broken microphones stay muted when they are back, until somebody unmutes the room.
    pub(crate) fn microphones_fault(&mut self, faulty: bool) {
        self.microphones_fault = faulty;
        if faulty {
            self.mute(MuteReason::MicrophonesFault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_that_is_let_go_restores_what_people_wished() {
        let mut mute = Mute::new();
        mute.meeting_begins(None);
        mute.switch(true);
        assert_eq!(mute.reason(), Some(MuteReason::Switch));
        assert_eq!(mute.unmute(), Err(MuteReason::Switch));
        mute.switch(false);
        assert!(!mute.muted());
    }

    #[test]
    fn microphones_that_come_back_are_not_heard_until_somebody_unmutes() {
        let mut mute = Mute::new();
        mute.meeting_begins(None);
        mute.microphones_fault(true);
        mute.microphones_fault(false);
        assert_eq!(mute.reason(), Some(MuteReason::MicrophonesFault));
        assert_eq!(mute.unmute(), Ok(()));
        assert!(!mute.muted());
    }

    #[test]
    fn a_switch_that_cannot_be_read_mutes_until_it_can() {
        let mut mute = Mute::new();
        mute.meeting_begins(None);
        mute.switch_fault();
        assert_eq!(mute.unmute(), Err(MuteReason::SwitchFault));
        mute.switch(false);
        assert!(!mute.muted());
    }
}
