//! Whether what is left rises and falls with the echo: then it is left of it, however loud; a talker does as he likes.

/// How much a frame counts: some half second is remembered.
const PACE: f32 = 0.02;

/// The correlation of two levels.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Likeness {
    /// Of the logarithms: means, mean squares around them, and the mean product.
    means: [f32; 2],
    squares: [f32; 2],
    product: f32,
}

impl Likeness {
    /// A frame in which an echo is heard: how loud what is left and the echo are, both above 0.
    pub(crate) fn hear(&mut self, left: f32, echo: f32) {
        let mut away = [left.ln(), echo.ln()];
        for ((away, mean), square) in away.iter_mut().zip(&mut self.means).zip(&mut self.squares) {
            *mean += PACE * (*away - *mean);
            *away -= *mean;
            *square += PACE * (*away * *away - *square);
        }
        self.product += PACE * (away[0] * away[1] - self.product);
    }

    /// 1.0: they go together; 0.0: they have nothing to do with each other.
    pub(crate) fn value(&self) -> f32 {
        self.product / (self.squares[0] * self.squares[1]).sqrt().max(1e-6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Levels like those of speech: syllables of six frames between silence and 40 dB more.
    fn levels(mut seed: u32) -> impl Iterator<Item = f32> {
        std::iter::from_fn(move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some(10.0_f32.powf(2.0 * (seed >> 8) as f32 / (1 << 24) as f32))
        })
        .flat_map(|level| std::iter::repeat_n(level, 6))
    }

    #[test]
    fn what_an_echo_leaves_goes_with_it_and_a_talker_does_not() {
        let (mut rest, mut talker) = (Likeness::default(), Likeness::default());
        let (mut least, mut most) = (1.0_f32, 0.0_f32);
        for (i, ((echo, said), hiss)) in levels(1).zip(levels(2)).zip(levels(3)).take(3_000).enumerate() {
            // A loudspeaker's distortion grows faster than what it plays; some of the room's noise is in it.
            rest.hear(0.01 * echo * echo + 0.001 * hiss, echo);
            talker.hear(0.1 * echo + said, echo);
            if i > 500 {
                (least, most) = (least.min(rest.value()), most.max(talker.value()));
            }
        }
        assert!(least > 0.8 && most < 0.7, "left {least}, talker {most}");
    }

    #[test]
    fn levels_that_never_change_say_nothing() {
        let mut likeness = Likeness::default();
        (0..2_000).for_each(|_| likeness.hear(0.5, 3.0));
        assert!(likeness.value().is_finite() && likeness.value() < 0.7, "{}", likeness.value());
    }
}
