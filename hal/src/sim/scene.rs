//! The room that the virtual camera sees when no recording is given.
//!
//! A wall with windows, shelves and pictures, three views wide and one and a half high, is painted once;
//! what the optics make of it is kept until they change, and only what moves is drawn for each frame:
//! people who sway, talk and gesture, a ball, and a clock.

use std::time::Duration;

use super::{
    controls::Optics,
    draw::{Canvas, Colour, Shape},
    view::{self, Picture, Window},
    voice::Random,
};

/// Width and height of the painted room in views.
const ROOM: (f32, f32) = (3.0, 1.5);
/// Side of the square of texture that is laid over the wall.
const TEXTURE: usize = 256;

/// The painted room and the view of it.
pub(super) struct Scene {
    width: usize,
    height: usize,
    room: Vec<u8>,
    room_width: usize,
    room_height: usize,
    people: Vec<Person>,
    /// What the optics show of the room without what moves.
    view: Vec<u8>,
    viewed: Option<Optics>,
    scratch: Vec<u8>,
}

struct Person {
    /// Place of the head in views from the room's centre.
    x: f32,
    skin: Colour,
    shirt: Colour,
    stripe: Colour,
    /// Periods of swaying and nodding, in seconds.
    sway: f32,
    nod: f32,
}

impl Scene {
    /// Paints the room for a view of `width` x `height` pixels (even numbers).
    pub(super) fn new(width: usize, height: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let room_width = (width as f32 * ROOM.0) as usize & !1;
        let room_height = (height as f32 * ROOM.1) as usize & !1;
        let mut room = vec![128; Canvas::bytes(room_width, room_height)];
        paint_wall(&mut room, room_width, room_height, &mut random);
        let canvas = Canvas { yuv: &mut room, width: room_width, height: room_height };
        furnish(canvas, height as f32, &mut random);
        let people = [-0.95, -0.24, 0.22, 1.0].map(|x| Person::new(x, &mut random)).into();
        let view = vec![0; Canvas::bytes(width, height)];
        Self { width, height, room, room_width, room_height, people, view, viewed: None, scratch: Vec::new() }
    }

    /// Draws the room at `time` into `out`, a picture of the view's size.
    pub(super) fn draw(&mut self, optics: &Optics, time: Duration, out: &mut [u8]) {
        let window = self.window(optics);
        let radius = blur_radius(optics, self.width);
        if self.viewed.as_ref() != Some(optics) {
            let room = Picture { yuv: &self.room, width: self.room_width, height: self.room_height };
            view::look(room, window, &mut self.view, self.width, self.height);
            view::blur(&mut self.view, self.width, self.height, radius, &mut self.scratch);
            view::brighten(&mut self.view[..self.width * self.height], optics.gain);
            self.viewed = Some(*optics);
        }
        out.copy_from_slice(&self.view);
        let mut stage = Stage {
            canvas: Canvas { yuv: out, width: self.width, height: self.height },
            window,
            unit: self.height as f32,
            centre: (self.room_width as f32 / 2.0, self.room_height as f32 / 2.0),
            softness: 1.5 + 3.0 * radius as f32,
            gain: optics.gain,
        };
        // Precise for years, where an f32 of seconds would begin to stutter after hours.
        let seconds = time.as_secs_f64();
        stage.draw_clock(time);
        for person in &self.people {
            person.draw(&mut stage, seconds);
        }
        stage.draw_ball(seconds);
    }

    fn window(&self, optics: &Optics) -> Window {
        let (seen_width, seen_height) = (self.width as f32 / optics.zoom, self.height as f32 / optics.zoom);
        let (spare_x, spare_y) =
            (self.room_width as f32 - self.width as f32, self.room_height as f32 - self.height as f32);
        let centre_x = self.room_width as f32 / 2.0 + optics.pan * spare_x / 2.0;
        let centre_y = self.room_height as f32 / 2.0 - optics.tilt * spare_y / 2.0;
        Window {
            x: (centre_x - seen_width / 2.0).round(),
            y: (centre_y - seen_height / 2.0).round(),
            scale: optics.zoom,
        }
    }
}

/// How many pixels a box blur reaches for these optics.
pub(super) fn blur_radius(optics: &Optics, width: usize) -> usize {
    (optics.blur * width as f32 / 60.0).round() as usize
}

/// The part of the drawing that moves: places are in view heights from the room's centre.
struct Stage<'a> {
    canvas: Canvas<'a>,
    window: Window,
    unit: f32,
    centre: (f32, f32),
    softness: f32,
    gain: f32,
}

impl Stage<'_> {
    fn paint(&mut self, x: f32, y: f32, half_width: f32, half_height: f32, corner: f32, colour: Colour) {
        let (x, y) = self.place(x, y);
        let scale = self.unit * self.window.scale;
        let shape = Shape::block(x, y, half_width * scale, half_height * scale, corner * scale);
        self.canvas.paint(shape, self.lit(colour), self.softness);
    }

    fn place(&self, x: f32, y: f32) -> (f32, f32) {
        let Window { x: left, y: top, scale } = self.window;
        ((self.centre.0 + x * self.unit - left) * scale, (self.centre.1 + y * self.unit - top) * scale)
    }

    fn lit(&self, [luma, blue, red]: Colour) -> Colour {
        [view::bright(luma, self.gain), blue, red]
    }

    /// Minutes, seconds and hundredths on the wall.
    fn draw_clock(&mut self, time: Duration) {
        let colour = self.lit([225, 118, 140]);
        let height = 0.085 * self.unit * self.window.scale;
        let number = |n: u64| u32::try_from(n % 100).unwrap_or_default();
        let parts = [time.as_secs() / 60 % 60, time.as_secs() % 60, u64::from(time.subsec_millis() / 10)];
        self.paint(0.0, -0.275, 0.3, 0.065, 0.02, [30, 128, 128]);
        for (part, x) in parts.into_iter().zip([-0.18, 0.0, 0.18]) {
            let (x, y) = self.place(x, -0.275);
            self.canvas.paint_number(number(part), x, y, height, colour, self.softness);
        }
    }

    fn draw_ball(&mut self, seconds: f64) {
        let x = (wave(seconds, 5.3) * 1.1) as f32;
        let y = 0.36 - 0.3 * (wave(seconds, 1.7).abs() as f32);
        let (x, y) = self.place(x, y);
        let radius = 0.035 * self.unit * self.window.scale;
        let colour = self.lit([150, 60, 200]);
        self.canvas.paint(Shape::disc(x, y, radius), colour, self.softness);
        let shine = self.lit([215, 110, 150]);
        self.canvas.paint(
            Shape::disc(x - radius * 0.3, y - radius * 0.3, radius * 0.25),
            shine,
            self.softness,
        );
    }
}

/// A sine of the given period in seconds.
fn wave(seconds: f64, period: f64) -> f64 {
    (seconds / period * std::f64::consts::TAU).sin()
}

impl Person {
    fn new(x: f32, random: &mut Random) -> Self {
        let shirt = random.colour(60, 160);
        Self {
            x,
            skin: [90 + random.below(90), 108, 152],
            stripe: [shirt[0] + 40, shirt[1], shirt[2]],
            shirt,
            sway: 4.0 + random.unit() * 4.0,
            nod: 1.5 + random.unit() * 2.0,
        }
    }

    fn draw(&self, stage: &mut Stage<'_>, seconds: f64) {
        let sway = (wave(seconds, f64::from(self.sway)) * 0.025) as f32;
        let nod = (wave(seconds, f64::from(self.nod)) * 0.008) as f32;
        let x = self.x * 16.0 / 9.0 + sway;
        // Body, stripes of the shirt, arm that gestures.
        stage.paint(x, 0.4, 0.16, 0.26, 0.1, self.shirt);
        for stripe in [0.26_f32, 0.34, 0.42] {
            stage.paint(x, stripe, 0.13, 0.012, 0.006, self.stripe);
        }
        let lift = (wave(seconds, f64::from(self.nod) * 1.9).max(0.0) * 0.12) as f32;
        stage.paint(x + 0.19, 0.36 - lift, 0.03, 0.1, 0.03, self.shirt);
        stage.paint(x + 0.19, 0.25 - lift, 0.028, 0.028, 0.028, self.skin);
        // Neck, hair, head, eyes that blink, mouth that talks.
        stage.paint(x, 0.15, 0.035, 0.05, 0.02, self.skin);
        let (x, y) = (x + sway * 0.3, 0.045 + nod);
        stage.paint(x, y - 0.03, 0.082, 0.09, 0.08, [38, 122, 136]);
        stage.paint(x, y, 0.07, 0.09, 0.07, self.skin);
        let eye = if wave(seconds, f64::from(self.sway) * 0.7) > 0.98 { 0.002 } else { 0.009 };
        for side in [-0.028, 0.028] {
            stage.paint(x + side, y - 0.015, 0.009, eye, 0.009, [40, 128, 128]);
        }
        let talking = wave(seconds, 0.31) * wave(seconds, f64::from(self.sway) * 1.3);
        let mouth = 0.004 + 0.014 * talking.max(0.0) as f32;
        stage.paint(x, y + 0.045, 0.022, mouth, mouth, [70, 118, 170]);
    }
}

/// Light that falls from one side, and plaster.
fn paint_wall(room: &mut [u8], width: usize, height: usize, random: &mut Random) {
    let texture = plaster(random);
    let lights: Vec<f32> = (0..width)
        .map(|x| {
            let place = x as f32 / width as f32;
            150.0 + 30.0 * (place * 9.0).sin() + 14.0 * (place * 23.0).cos()
        })
        .collect();
    let (luma, chroma) = room.split_at_mut(width * height);
    for (y, row) in luma.chunks_exact_mut(width).enumerate() {
        let shade = 22.0 - 60.0 * y as f32 / height as f32;
        let grain = &texture[y % TEXTURE * TEXTURE..][..TEXTURE];
        for (x, (pixel, light)) in row.iter_mut().zip(&lights).enumerate() {
            *pixel = (light + shade + grain[x % TEXTURE]).clamp(20.0, 230.0) as u8;
        }
    }
    let tint = [118 + random.below(14), 124 + random.below(14)];
    for (plane, tint) in chroma.chunks_exact_mut(width * height / 4).zip(tint) {
        for (x, pixel) in plane.iter_mut().enumerate() {
            *pixel = tint + (x % (width / 2) * 8 / width) as u8;
        }
    }
}

/// A tile of smooth noise in three octaves, which fits its own edges.
fn plaster(random: &mut Random) -> Vec<f32> {
    let mut tile = vec![0.0; TEXTURE * TEXTURE];
    for (cells, strength) in [(8, 10.0), (32, 6.0), (128, 4.0)] {
        let lattice: Vec<f32> = (0..cells * cells).map(|_| random.unit() * 2.0 - 1.0).collect();
        let cell = TEXTURE / cells;
        for (i, value) in tile.iter_mut().enumerate() {
            let (x, y) = (i % TEXTURE, i / TEXTURE);
            let (left, top) = (x / cell, y / cell);
            let (fx, fy) = ((x % cell) as f32 / cell as f32, (y % cell) as f32 / cell as f32);
            let at = |x: usize, y: usize| lattice[y % cells * cells + x % cells];
            let upper = at(left, top) + (at(left + 1, top) - at(left, top)) * fx;
            let lower = at(left, top + 1) + (at(left + 1, top + 1) - at(left, top + 1)) * fx;
            *value += strength * (upper + (lower - upper) * fy);
        }
    }
    tile
}

/// Windows, pictures, shelves with books, a table.
fn furnish(mut canvas: Canvas<'_>, unit: f32, random: &mut Random) {
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    let mut place = |x: f32, y: f32, half_width: f32, half_height: f32, corner: f32, colour: Colour| {
        let shape = Shape::block(
            width / 2.0 + x * unit,
            height / 2.0 + y * unit,
            half_width * unit,
            half_height * unit,
            corner * unit,
        );
        canvas.paint(shape, colour, 1.5);
    };
    for x in [-2.0, 1.35] {
        place(x, -0.2, 0.3, 0.26, 0.01, [70, 118, 138]);
        for (dx, dy) in [(-0.145, -0.125), (0.145, -0.125), (-0.145, 0.125), (0.145, 0.125)] {
            place(x + dx, -0.2 + dy, 0.13, 0.11, 0.005, [205 + random.below(25), 140, 118]);
        }
    }
    for (x, y) in [(-0.62, -0.18), (0.62, -0.2), (-1.35, -0.3), (2.2, -0.15)] {
        place(x, y, 0.13, 0.1, 0.0, [45, 126, 132]);
        place(x, y, 0.115, 0.085, 0.0, random.colour(90, 190));
        place(x - 0.04, y + 0.02, 0.04, 0.05, 0.03, random.colour(60, 200));
        place(x + 0.05, y - 0.02, 0.035, 0.035, 0.035, random.colour(60, 200));
    }
    for shelf in [-0.35_f32, -0.05, 0.25] {
        for start in [-1.0_f32, 0.75] {
            place(start + 0.12, shelf + 0.085, 0.16, 0.01, 0.0, [60, 112, 142]);
            for book in 0..12 {
                let tall = 0.05 + 0.025 * random.unit();
                let x = start - 0.02 + 0.025 * book as f32;
                place(x, shelf + 0.075 - tall, 0.011, tall, 0.0, random.colour(50, 190));
            }
        }
    }
    place(0.0, 0.66, 2.8, 0.12, 0.02, [85, 110, 145]);
    place(0.0, 0.56, 2.8, 0.02, 0.01, [110, 110, 145]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sim::controls::ControlValues;

    fn optics() -> Optics {
        ControlValues::default().optics()
    }

    fn drawn(optics: Optics, at: Duration) -> Vec<u8> {
        let mut out = vec![0; Canvas::bytes(320, 180)];
        Scene::new(320, 180, 7).draw(&optics, at, &mut out);
        out
    }

    fn difference(a: &[u8], b: &[u8]) -> f64 {
        let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / a.len() as f64
    }

    /// Mean difference of neighbours: how sharp a picture is.
    fn sharpness(yuv: &[u8]) -> f64 {
        difference(&yuv[..320 * 180 - 1], &yuv[1..320 * 180])
    }

    #[test]
    fn the_scene_moves_and_stays_within_what_an_encoder_takes_easily() {
        let (first, next) = (drawn(optics(), Duration::ZERO), drawn(optics(), Duration::from_millis(200)));
        let moved = difference(&first, &next);
        assert!((0.05..20.0).contains(&moved), "mean difference {moved}");
    }

    #[test]
    fn pan_tilt_and_zoom_show_another_part() {
        let rest = drawn(optics(), Duration::ZERO);
        for other in [
            Optics { pan: 0.5, ..optics() },
            Optics { tilt: -1.0, ..optics() },
            Optics { zoom: 3.0, ..optics() },
        ] {
            assert!(difference(&rest, &drawn(other, Duration::ZERO)) > 5.0, "{other:?}");
        }
    }

    #[test]
    fn pan_moves_the_picture_by_whole_pixels() {
        // A tenth of the way is 32 of 320 pixels; the wall at the bottom edge does not move by itself.
        let (rest, panned) =
            (drawn(optics(), Duration::ZERO), drawn(Optics { pan: 0.1, ..optics() }, Duration::ZERO));
        let row = 60 * 320;
        assert!(difference(&rest[row + 32..row + 64], &panned[row..row + 32]) < 3.0);
    }

    #[test]
    fn a_wrong_focus_blurs_and_a_long_exposure_brightens() {
        let rest = drawn(optics(), Duration::ZERO);
        let blurred = drawn(Optics { blur: 1.0, ..optics() }, Duration::ZERO);
        assert!(sharpness(&blurred) < sharpness(&rest) / 2.0);
        let mean = |yuv: &[u8]| yuv[..320 * 180].iter().map(|&v| f64::from(v)).sum::<f64>() / (320.0 * 180.0);
        assert!(mean(&drawn(Optics { gain: 2.0, ..optics() }, Duration::ZERO)) > mean(&rest) + 20.0);
    }

    #[test]
    fn two_rooms_look_different() {
        let mut other = vec![0; Canvas::bytes(320, 180)];
        Scene::new(320, 180, 8).draw(&optics(), Duration::ZERO, &mut other);
        assert!(difference(&drawn(optics(), Duration::ZERO), &other) > 1.0);
    }
}
