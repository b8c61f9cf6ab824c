//! Who is logged in.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::{Choice, ConstantTimeEq};

/// A session ends when it was not used for that long.
pub(crate) const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// One more ends the one that was not used for longest.
const MAX_SESSIONS: usize = 64;

struct Session {
    token: String,
    used: Instant,
}

/// All sessions, in memory: a restart logs everybody out. Time and randomness are arguments.
#[derive(Default)]
pub(crate) struct Sessions(Vec<Session>);

impl Sessions {
    /// Starts one and gives its token.
    pub(crate) fn open(&mut self, now: Instant, randomness: [u8; 32]) -> String {
        self.expire(now);
        if self.0.len() >= MAX_SESSIONS {
            let oldest = self.0.iter().enumerate().min_by_key(|(_, s)| s.used).map(|(i, _)| i);
            oldest.map(|i| self.0.swap_remove(i));
        }
        let token = URL_SAFE_NO_PAD.encode(randomness);
        self.0.push(Session { token: token.clone(), used: now });
        token
    }

    /// Whether `token` is of a session, which lives on from `now`. Compares with all in constant time.
    pub(crate) fn touch(&mut self, now: Instant, token: &str) -> bool {
        self.expire(now);
        let mut known = Choice::from(0);
        for session in &mut self.0 {
            let same = session.token.as_bytes().ct_eq(token.as_bytes());
            if bool::from(same) {
                session.used = now;
            }
            known |= same;
        }
        known.into()
    }

    /// Ends the session of `token`.
    pub(crate) fn close(&mut self, token: &str) {
        self.0.retain(|session| !bool::from(session.token.as_bytes().ct_eq(token.as_bytes())));
    }

    fn expire(&mut self, now: Instant) {
        self.0.retain(|session| now.saturating_duration_since(session.used) < LIFETIME);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lives_while_it_is_used_and_ends_at_logout() {
        let (mut sessions, mut now) = (Sessions::default(), Instant::now());
        let (a, b) = (sessions.open(now, [1; 32]), sessions.open(now, [2; 32]));
        now += LIFETIME / 2;
        assert!(sessions.touch(now, &a));
        now += LIFETIME / 2;
        assert!(sessions.touch(now, &a), "it was used in between");
        assert!(!sessions.touch(now, &b), "it was not");
        sessions.close(&a);
        assert!(!sessions.touch(now, &a));
        assert!(!sessions.touch(now, ""));
    }

    #[test]
    fn sessions_are_bounded_and_the_newest_stay() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let tokens: Vec<_> =
            (0..=255).map(|n| sessions.open(now + Duration::from_secs(n.into()), [n; 32])).collect();
        let now = now + Duration::from_secs(256);
        assert_eq!(tokens.iter().filter(|token| sessions.touch(now, token)).count(), MAX_SESSIONS);
        assert!(sessions.touch(now, &tokens[255]));
    }
}
