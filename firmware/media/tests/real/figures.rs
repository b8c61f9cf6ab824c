//! The whole way of a picture, and what it costs. Run with `--nocapture` to see the figures.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rostrum_hal::FrameSize;
use rostrum_media::{
    CameraPipeline, Codec, Decoder, LayerId, Meeting, PictureSettings, Scene, Screen, Seat, jpeg, layout,
};

use crate::{
    encoders::{Factory, X264Factory},
    pictures::{Inbox, PATIENCE, cut, number_of, time, with_bar},
};

const HD: FrameSize = FrameSize::new(1280, 720);
const FRAMES: u32 = 60;

fn per_frame(name: &str, total: Duration) {
    // For a person who looks at the test; how long things take on a machine under load proves nothing.
    eprintln!("{name:45} {:6.2} ms a frame", total.as_secs_f64() * 1000.0 / f64::from(FRAMES));
}

#[test]
fn a_picture_goes_from_the_camera_to_the_screen() {
    let encoded = Inbox::new();
    let to = encoded.clone();
    let mut camera = CameraPipeline::new(
        Arc::new(Factory(Arc::new(X264Factory::default()))),
        PictureSettings::default(),
        Box::new(move |layer, frame| to.put((layer, frame, Instant::now()))),
        Box::new(|_| ()),
    )
    .unwrap();
    let mut screen = Screen::new(HD, 30.0).unwrap();
    let seats = ["0", "1", "2", "3"].map(|id| Seat { id: id.to_owned(), video: true, ..Default::default() });
    screen.set_scene(Scene::Meeting(Meeting { seats: seats.into(), ..Default::default() }));
    // The same camera in every seat: the sizes that a service would send.
    let layers = [LayerId::Mid, LayerId::Mid, LayerId::High, LayerId::Low];
    let pictures = Inbox::new();
    let mut decoders: Vec<_> = (0..4)
        .map(|seat: u32| {
            let (input, done) = (screen.input(), pictures.clone());
            let sink = move |frame| {
                input.push(&seat.to_string(), frame);
                done.put(Instant::now());
            };
            Decoder::new(Codec::H264, Box::new(sink), Box::new(|| ())).unwrap()
        })
        .collect();

    let [mut submitting, mut encoding, mut decoding, mut drawing, mut whole] = [Duration::ZERO; 5];
    let frames: Vec<_> = (0..FRAMES).map(|number| with_bar(HD, number)).collect();
    for (number, frame) in frames.iter().enumerate() {
        let start = Instant::now();
        camera.submit(frame).unwrap();
        submitting += start.elapsed();
        assert!(encoded.wait_for(3, PATIENCE));
        let out = encoded.take();
        let (_, _, encoded_at) = out.iter().find(|(layer, ..)| *layer == LayerId::High).unwrap();
        encoding += *encoded_at - start;

        let decode_start = Instant::now();
        for (decoder, layer) in decoders.iter_mut().zip(layers) {
            let (_, frame, _) = out.iter().find(|(id, ..)| *id == layer).unwrap();
            decoder.push(&frame.data, frame.capture_time, frame.key_frame);
        }
        assert!(pictures.wait_for(4, PATIENCE));
        pictures.take();
        decoding += decode_start.elapsed();

        let draw_start = Instant::now();
        let picture = screen.render(time(number as u32));
        drawing += draw_start.elapsed();
        whole += start.elapsed();
        for (_, place) in screen.seats() {
            let inner = layout::letterbox(place, HD);
            let seen = number_of(&cut(&picture, inner.x, inner.y, inner.size()));
            assert_eq!(seen, Some(number as u32), "{place:?}");
        }
    }
    let start = Instant::now();
    let last = screen.render(time(FRAMES));
    for _ in 0..FRAMES {
        jpeg(&last, 640, 70).unwrap();
    }
    per_frame("scale to 3 layers and submit", submitting);
    per_frame("frame in to 720p encoded", encoding);
    per_frame("decode 720p, 2x 360p, 180p", decoding);
    per_frame("compose 4 seats at 720p", drawing);
    per_frame("all of it", whole);
    per_frame("still of 640x360", start.elapsed());
}
