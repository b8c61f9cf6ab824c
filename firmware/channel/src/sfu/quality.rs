//! How good a participant's connection is, in LiveKit's words.

use std::time::Duration;

use livekit_protocol::ConnectionQuality;

/// Loss and round trip of one interval, gathered from receiver reports and from gaps in what arrives.
#[derive(Debug, Clone, Default)]
pub(super) struct QualityMeter {
    worst_loss: f32,
    round_trip: Option<Duration>,
    told: Option<ConnectionQuality>,
}

/// The quality for a share of lost packets (0 to 1) and a round trip.
pub(super) fn quality(loss: f32, round_trip: Option<Duration>) -> ConnectionQuality {
    let round_trip = round_trip.unwrap_or_default();
    if loss > 0.06 || round_trip > Duration::from_millis(500) {
        ConnectionQuality::Poor
    } else if loss > 0.02 || round_trip > Duration::from_millis(250) {
        ConnectionQuality::Good
    } else {
        ConnectionQuality::Excellent
    }
}

/// The score of a quality, on LiveKit's scale of 1 to 5.
pub(super) fn score(quality: ConnectionQuality) -> f32 {
    match quality {
        ConnectionQuality::Excellent => 4.5,
        ConnectionQuality::Good => 3.5,
        ConnectionQuality::Poor => 2.0,
        ConnectionQuality::Lost => 1.0,
    }
}

impl QualityMeter {
    /// A share of packets was lost, one way or the other.
    pub(super) fn lost(&mut self, share: f32) {
        self.worst_loss = self.worst_loss.max(share);
    }

    /// A round trip was measured.
    pub(super) fn round_trip(&mut self, round_trip: Duration) {
        self.round_trip = Some(round_trip);
    }

    /// Ends an interval: the quality, when it is another than told before.
    pub(super) fn changed(&mut self, connected: bool) -> Option<ConnectionQuality> {
        let loss = std::mem::take(&mut self.worst_loss);
        let now = if connected { quality(loss, self.round_trip) } else { ConnectionQuality::Lost };
        (self.told.replace(now) != Some(now)).then_some(now)
    }

    /// What was told last.
    pub(super) fn told(&self) -> Option<ConnectionQuality> {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_delay_lower_the_quality() {
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(quality(0.0, ms(20)), ConnectionQuality::Excellent);
        assert_eq!(quality(0.03, ms(20)), ConnectionQuality::Good);
        assert_eq!(quality(0.0, ms(300)), ConnectionQuality::Good);
        assert_eq!(quality(0.2, None), ConnectionQuality::Poor);
    }

    #[test]
    fn only_changes_are_told() {
        let mut meter = QualityMeter::default();
        assert_eq!(meter.changed(true), Some(ConnectionQuality::Excellent));
        assert_eq!(meter.changed(true), None);
        meter.lost(0.5);
        assert_eq!(meter.changed(true), Some(ConnectionQuality::Poor));
        assert_eq!(meter.changed(false), Some(ConnectionQuality::Lost));
        assert_eq!(meter.changed(true), Some(ConnectionQuality::Excellent));
    }
}
