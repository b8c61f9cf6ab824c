//! Stand-ins for vendors' encoder elements: bins with x264 inside, whose properties and signals are those of the vendors.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex, Once},
};

use gst::{glib, glib::subclass::Signal, prelude::*, subclass::prelude::*};
use gstreamer as gst;
use gstreamer_video as video;

/// What the stand-in that started last was told by then.
static LAST_STARTED: Mutex<String> = Mutex::new(String::new());

/// `name=value ...` of the stand-in that started last, in the order of its properties.
pub(crate) fn last_started() -> String {
    LAST_STARTED.lock().unwrap().clone()
}

/// Registers all of them under their vendors' names, in the place of what this machine may have.
pub(crate) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        for (name, kind) in [
            ("vpuenc_h264", Vpu::static_type()),
            ("mpph264enc", Mpp::static_type()),
            ("nvv4l2h264enc", Nv::static_type()),
            ("v4l2h264enc", V4l2::static_type()),
        ] {
            gst::Element::register(None, name, gst::Rank::PRIMARY, kind).unwrap();
        }
        // Only to be named: no memory of NVIDIA's comes out of it.
        let identity = gst::ElementFactory::find("identity").unwrap().load().unwrap().element_type();
        gst::Element::register(None, "nvvidconv", gst::Rank::NONE, identity).unwrap();
    });
}

/// What a stand-in holds.
#[derive(Default)]
struct Inside {
    encoder: Mutex<Option<gst::Element>>,
    /// What its properties were set to.
    values: Mutex<BTreeMap<String, String>>,
    structure: Mutex<Option<gst::Structure>>,
}

impl Inside {
    fn build(&self, bin: &gst::Bin, template: &gst::Element) {
        let encoder = gst::ElementFactory::make("x264enc")
            .property_from_str("tune", "zerolatency")
            .property_from_str("speed-preset", "superfast")
            .property("key-int-max", 1_000_000_000_u32)
            .property("vbv-buf-capacity", 200_u32)
            .property_from_str("option-string", "scenecut=0")
            .build()
            .unwrap();
        bin.add(&encoder).unwrap();
        for pad in ["sink", "src"] {
            let ghost = gst::GhostPad::with_target(&encoder.static_pad(pad).unwrap()).unwrap();
            template.add_pad(&ghost).unwrap();
        }
        // As vendors' elements do: no frame says that it needs others.
        let unmarked = |_: &gst::Pad, info: &mut gst::PadProbeInfo<'_>| {
            if let Some(buffer) = info.buffer_mut() {
                buffer.make_mut().unset_flags(gst::BufferFlags::DELTA_UNIT);
            }
            gst::PadProbeReturn::Ok
        };
        encoder.static_pad("src").unwrap().add_probe(gst::PadProbeType::BUFFER, unmarked);
        *self.encoder.lock().unwrap() = Some(encoder);
    }

    fn encoder(&self) -> gst::Element {
        self.encoder.lock().unwrap().clone().unwrap()
    }

    fn keep(&self, name: &str, value: &glib::Value) {
        if let Ok(structure) = value.get::<gst::Structure>() {
            *self.structure.lock().unwrap() = Some(structure);
        }
        self.values.lock().unwrap().insert(name.into(), text(name, value));
    }

    fn value(&self, spec: &glib::ParamSpec) -> glib::Value {
        match spec.value_type() == gst::Structure::static_type() {
            true => self.structure.lock().unwrap().to_value(),
            false => spec.default_value().clone(),
        }
    }

    fn set_bitrate(&self, bps: u32) {
        self.encoder().set_property("bitrate", bps / 1000);
    }

    fn force_key_frame(&self) {
        let event = video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
        assert!(self.encoder().send_event(event));
    }

    fn started(&self, specs: &[glib::ParamSpec]) {
        let values = self.values.lock().unwrap();
        let told: Vec<_> =
            specs.iter().filter_map(|spec| values.get(spec.name())).map(String::as_str).collect();
        *LAST_STARTED.lock().unwrap() = told.join(" ");
    }
}

fn text(name: &str, value: &glib::Value) -> String {
    if let Ok(structure) = value.get::<gst::Structure>() {
        let mut fields: Vec<_> = structure
            .iter()
            .map(|(field, value)| format!("{field}={}", value.get::<i32>().unwrap()))
            .collect();
        fields.sort();
        return format!("{}: {}", structure.name(), fields.join(" "));
    }
    if let Ok(text) = value.get::<String>() {
        return format!("{name}={text}");
    }
    format!("{name}={}", value.serialize().unwrap().as_str())
}

fn unsigned(name: &str) -> glib::ParamSpec {
    glib::ParamSpecUInt::builder(name).build()
}

fn signed(name: &str) -> glib::ParamSpec {
    glib::ParamSpecInt::builder(name).build()
}

fn boolean(name: &str) -> glib::ParamSpec {
    glib::ParamSpecBoolean::builder(name).build()
}

/// In the place of an enumeration, by its nickname.
fn choice(name: &str) -> glib::ParamSpec {
    glib::ParamSpecString::builder(name).build()
}

fn structure(name: &str) -> glib::ParamSpec {
    glib::ParamSpecBoxed::builder::<gst::Structure>(name).build()
}

/// One vendor's element: its properties, what each of them does, its action signals, and whether it heeds events.
macro_rules! stand_in {
    ($module:ident, $name:ident, $type_name:literal, [$($spec:expr),*], $set:expr, [$($signal:literal),*], $heeds_event:literal) => {
        mod $module {
            use super::*;

            #[derive(Default)]
            pub struct $name(pub(super) Inside);

            #[glib::object_subclass]
            impl ObjectSubclass for $name {
                const NAME: &'static str = $type_name;
                type Type = super::$name;
                type ParentType = gst::Bin;
            }

            impl ObjectImpl for $name {
                fn properties() -> &'static [glib::ParamSpec] {
                    static SPECS: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| vec![$($spec),*]);
                    &SPECS
                }

                fn signals() -> &'static [Signal] {
                    static SIGNALS: LazyLock<Vec<Signal>> = LazyLock::new(|| {
                        vec![$(Signal::builder($signal)
                            .action()
                            .class_handler(|arguments| {
                                let this = arguments[0].get::<super::$name>().unwrap();
                                this.imp().0.force_key_frame();
                                None
                            })
                            .build()),*]
                    });
                    &SIGNALS
                }

                fn set_property(&self, _: usize, value: &glib::Value, spec: &glib::ParamSpec) {
                    if spec.flags().contains(glib::ParamFlags::CONSTRUCT_ONLY) {
                        return;
                    }
                    self.0.keep(spec.name(), value);
                    let set: fn(&Inside, bool, &str, &glib::Value) = $set;
                    let runs = self.obj().current_state() != gst::State::Null;
                    set(&self.0, runs, spec.name(), value);
                }

                fn property(&self, _: usize, spec: &glib::ParamSpec) -> glib::Value {
                    self.0.value(spec)
                }

                fn constructed(&self) {
                    self.parent_constructed();
                    let this = self.obj();
                    self.0.build(this.upcast_ref(), this.upcast_ref());
                }
            }

            impl GstObjectImpl for $name {}

            impl ElementImpl for $name {
                fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
                    static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
                        gst::subclass::ElementMetadata::new($type_name, "Codec/Encoder/Video", "a stand-in", "tests")
                    });
                    Some(&METADATA)
                }

                fn send_event(&self, event: gst::Event) -> bool {
                    $heeds_event && self.0.encoder().send_event(event)
                }

                fn change_state(
                    &self,
                    transition: gst::StateChange,
                ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
                    if transition == gst::StateChange::NullToReady {
                        self.0.started(Self::properties());
                    }
                    self.parent_change_state(transition)
                }
            }

            impl BinImpl for $name {}
        }

        glib::wrapper! {
            pub struct $name(ObjectSubclass<$module::$name>) @extends gst::Bin, gst::Element, gst::Object;
        }
    };
}

// imx-gst1.0-plugin: kbit/s; key frames by the event, which a bin hands on to what is inside.
stand_in!(
    vpu,
    Vpu,
    "StandInVpuEnc",
    [unsigned("bitrate"), unsigned("gop-size")],
    |inside, _, name, value| {
        if name == "bitrate" {
            inside.set_bitrate(value.get::<u32>().unwrap() * 1000);
        }
    },
    [],
    true
);

// gstreamer-rockchip: bit/s; key frames by the event.
stand_in!(
    mpp,
    Mpp,
    "StandInMppEnc",
    [
        unsigned("bps"),
        choice("rc-mode"),
        choice("header-mode"),
        choice("profile"),
        choice("level"),
        signed("gop"),
        unsigned("qp-max"),
        // None of its own: a kind of property that other elements have.
        glib::ParamSpecUInt::builder("made-with").construct_only().build()
    ],
    |inside, _, name, value| {
        if name == "bps" {
            inside.set_bitrate(value.get::<u32>().unwrap());
        }
    },
    [],
    true
);

// L4T's gst-v4l2: bit/s; key frames by a signal.
stand_in!(
    nv,
    Nv,
    "StandInNvEnc",
    [
        unsigned("bitrate"),
        unsigned("control-rate"),
        unsigned("profile"),
        boolean("insert-sps-pps"),
        unsigned("iframeinterval"),
        unsigned("idrinterval"),
        unsigned("num-B-Frames"),
        boolean("maxperf-enable")
    ],
    |inside, _, name, value| {
        if name == "bitrate" {
            inside.set_bitrate(value.get::<u32>().unwrap());
        }
    },
    ["force-IDR"],
    false
);

// gst-plugins-good: all in a structure, which is applied field by field.
stand_in!(
    v4l2,
    V4l2,
    "StandInV4l2Enc",
    [structure("extra-controls")],
    |inside, runs, _, value| {
        let controls = value.get::<gst::Structure>().unwrap();
        if let Ok(bps) = controls.get::<i32>("video_bitrate") {
            inside.set_bitrate(bps.unsigned_abs());
        }
        if runs && controls.has_field("force_key_frame") {
            inside.force_key_frame();
        }
    },
    [],
    false
);
