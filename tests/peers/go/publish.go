package main

import (
	"bytes"
	"context"
	"os"
	"sync/atomic"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// A film plays pictures of an Annex B file in a loop, and again from its start, where its key frame is, when asked.
type film struct {
	lksdk.BaseSampleProvider
	pictures [][]byte
	next     int
	again    atomic.Bool
}

func (f *film) NextSample(context.Context) (media.Sample, error) {
	if f.again.Swap(false) {
		f.next = 0
	}
	picture := f.pictures[f.next]
	f.next = (f.next + 1) % len(f.pictures)
	return media.Sample{Data: picture, Duration: time.Second / 30}, nil
}

func (f *film) feedback(packet rtcp.Packet) {
	switch packet.(type) {
	case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
		f.again.Store(true)
	}
}

func load(file string) *film {
	stream, err := os.ReadFile(file)
	if err != nil {
		fail("video", err)
	}
	playing := &film{}
	start := 0
	for at := 0; at+4 < len(stream); at++ {
		if !bytes.Equal(stream[at:at+3], []byte{0, 0, 1}) {
			continue
		}
		// A unit that is not the second or a later slice of a picture, after a slice, begins the next picture.
		kind := stream[at+3] & 0x1f
		slice := kind == 1 || kind == 5
		if seenSlice(stream[start:at]) && (!slice || stream[at+4]&0x80 != 0) {
			playing.pictures = append(playing.pictures, stream[start:at])
			start = at
		}
	}
	playing.pictures = append(playing.pictures, stream[start:])
	return playing
}

func seenSlice(units []byte) bool {
	for at := 0; at+3 < len(units); at++ {
		if bytes.Equal(units[at:at+3], []byte{0, 0, 1}) {
			if kind := units[at+3] & 0x1f; kind == 1 || kind == 5 {
				return true
			}
		}
	}
	return false
}

func publishVideo(room *lksdk.Room, files []string) {
	layers := []*livekit.VideoLayer{
		{Quality: livekit.VideoQuality_LOW, Width: 320, Height: 180, Bitrate: 150_000},
		{Quality: livekit.VideoQuality_MEDIUM, Width: 640, Height: 360, Bitrate: 500_000},
		{Quality: livekit.VideoQuality_HIGH, Width: 1280, Height: 720, Bitrate: 1_700_000},
	}
	var tracks []*lksdk.LocalTrack
	for place, file := range files {
		playing := load(file)
		track, err := lksdk.NewLocalTrack(
			webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000},
			lksdk.WithSimulcast("camera", layers[place]),
			lksdk.WithRTCPHandler(playing.feedback),
		)
		if err != nil {
			fail("video", err)
		}
		if err := track.StartWrite(playing, nil); err != nil {
			fail("video", err)
		}
		tracks = append(tracks, track)
	}
	options := &lksdk.TrackPublicationOptions{
		Name: "camera", Source: livekit.TrackSource_CAMERA, VideoWidth: 1280, VideoHeight: 720,
	}
	publication, err := room.LocalParticipant.PublishSimulcastTrack(tracks, options)
	if err != nil {
		fail("video", err)
	}
	say("published", map[string]any{"kind": "video", "sid": publication.SID()})
}

// A hum is packets of Opus by their first byte: no decoder of a test listens to them.
type hum struct{ lksdk.BaseSampleProvider }

func (h *hum) NextSample(context.Context) (media.Sample, error) {
	return media.Sample{Data: []byte{15 << 3, 0xff, 0xfe, 0x55, 0xaa}, Duration: 20 * time.Millisecond}, nil
}

func publishAudio(room *lksdk.Room) *lksdk.LocalTrackPublication {
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2})
	if err != nil {
		fail("audio", err)
	}
	if err := track.StartWrite(&hum{}, nil); err != nil {
		fail("audio", err)
	}
	options := &lksdk.TrackPublicationOptions{Name: "microphone", Source: livekit.TrackSource_MICROPHONE}
	publication, err := room.LocalParticipant.PublishTrack(track, options)
	if err != nil {
		fail("audio", err)
	}
	say("published", map[string]any{"kind": "audio", "sid": publication.SID()})
	return publication
}
