// A participant made of LiveKit's Go SDK (pion). Prints one JSON object a line.
//
// It subscribes to everything and prints {"event": "media"} five times a second for each track that packets come of,
// with how many came so far and, of H.264, the size of the picture. Commands are JSON lines on standard input:
//
//	{"do": "quality", "user": "room", "quality": "low"}            asks for a layer of a user's camera
//	{"do": "size", "user": "room", "width": 320, "height": 180}    the same by the size of a seat
//	{"do": "send", "text": "hello", "topic": "t"}                  sends data to everybody
//	{"do": "mute", "muted": true}                                  mutes its own microphone
//	{"do": "simulate", "scenario": "signal"}                       cuts its signalling; see scenarios
//	{"do": "quit"}
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
)

var scenarios = map[string]lksdk.SimulateScenario{
	"signal":         lksdk.SimulateSignalReconnect,
	"node_failure":   lksdk.SimulateNodeFailure,
	"migration":      lksdk.SimulateMigration,
	"full_reconnect": lksdk.SimulateLeaveRequestFullReconnect,
	"server_leave":   lksdk.SimulateServerLeave,
}

var output sync.Mutex

// say prints one event.
func say(event string, fields map[string]any) {
	line := map[string]any{"event": event}
	for name, value := range fields {
		line[name] = value
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(text))
}

func fail(what string, err error) {
	say("failed", map[string]any{"message": fmt.Sprintf("%s: %v", what, err)})
	os.Exit(1)
}

func main() {
	url := flag.String("url", "", "address of the service")
	token := flag.String("token", "", "token to join with")
	single := flag.Bool("one-connection", false, "one peer connection instead of two")
	subscribe := flag.Bool("subscribe", true, "receive everything")
	video := flag.String("video", "", "H.264 files to publish as simulcast layers, low to high, with commas between")
	audio := flag.Bool("audio", false, "publish sound")
	flag.Parse()

	options := []lksdk.ConnectOption{lksdk.WithAutoSubscribe(*subscribe), lksdk.WithDisableRegionDiscovery()}
	if *single {
		options = append(options, lksdk.WithSinglePeerConnection())
	}
	say("connecting", nil)
	room, err := lksdk.ConnectToRoomWithToken(*url, *token, callbacks(), options...)
	if err != nil {
		fail("connect", err)
	}
	say("connected", map[string]any{"user": room.LocalParticipant.Identity()})
	if *video != "" {
		publishVideo(room, strings.Split(*video, ","))
	}
	var microphone *lksdk.LocalTrackPublication
	if *audio {
		microphone = publishAudio(room)
	}

	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var command map[string]any
		if err := json.Unmarshal(lines.Bytes(), &command); err != nil {
			fail("command", err)
		}
		if command["do"] == "quit" {
			break
		}
		obey(room, microphone, command)
	}
	room.Disconnect()
}

func obey(room *lksdk.Room, microphone *lksdk.LocalTrackPublication, command map[string]any) {
	text := func(name string) string { value, _ := command[name].(string); return value }
	number := func(name string) uint32 { value, _ := command[name].(float64); return uint32(value) }
	switch command["do"] {
	case "quality":
		quality := livekit.VideoQuality(livekit.VideoQuality_value[strings.ToUpper(text("quality"))])
		if err := camera(room, text("user")).SetVideoQuality(quality); err != nil {
			fail("quality", err)
		}
	case "size":
		camera(room, text("user")).SetVideoDimensions(number("width"), number("height"))
	case "send":
		packet := &lksdk.UserDataPacket{Payload: []byte(text("text")), Topic: text("topic")}
		if err := room.LocalParticipant.PublishDataPacket(packet, lksdk.WithDataPublishReliable(true)); err != nil {
			fail("send", err)
		}
	case "mute":
		microphone.SetMuted(command["muted"] == true)
	case "simulate":
		scenario, known := scenarios[text("scenario")]
		if !known {
			fail("simulate", fmt.Errorf("no scenario %q", text("scenario")))
		}
		room.Simulate(scenario)
	default:
		fail("command", fmt.Errorf("no command %v", command["do"]))
	}
}

func camera(room *lksdk.Room, user string) *lksdk.RemoteTrackPublication {
	participant := room.GetParticipantByIdentity(user)
	if participant == nil {
		fail("camera", fmt.Errorf("nobody is called %q", user))
	}
	publication, found := participant.GetTrackPublication(livekit.TrackSource_CAMERA).(*lksdk.RemoteTrackPublication)
	if !found {
		fail("camera", fmt.Errorf("%q has no camera", user))
	}
	return publication
}

func callbacks() *lksdk.RoomCallback {
	called := lksdk.NewRoomCallback()
	called.OnParticipantConnected = func(who *lksdk.RemoteParticipant) {
		say("came", map[string]any{"user": who.Identity()})
	}
	called.OnParticipantDisconnected = func(who *lksdk.RemoteParticipant) {
		say("went", map[string]any{"user": who.Identity()})
	}
	called.OnDisconnectedWithReason = func(reason lksdk.DisconnectionReason) {
		say("disconnected", map[string]any{"reason": string(reason)})
	}
	called.OnReconnecting = func() { say("reconnecting", nil) }
	called.OnReconnected = func() { say("reconnected", nil) }
	called.OnLocalTrackSubscribed = func(track *lksdk.LocalTrackPublication, _ *lksdk.LocalParticipant) {
		say("watched", map[string]any{"source": track.Source().String()})
	}
	called.OnTrackMuted = func(track lksdk.TrackPublication, who lksdk.Participant) {
		say("muted", map[string]any{"user": who.Identity(), "source": track.Source().String()})
	}
	called.OnTrackUnmuted = func(track lksdk.TrackPublication, who lksdk.Participant) {
		say("unmuted", map[string]any{"user": who.Identity(), "source": track.Source().String()})
	}
	called.OnDataPacket = func(packet lksdk.DataPacket, from lksdk.DataReceiveParams) {
		if data, isUser := packet.(*lksdk.UserDataPacket); isUser {
			say("data", map[string]any{"user": from.SenderIdentity, "topic": data.Topic, "text": string(data.Payload)})
		}
	}
	called.OnTrackSubscribed = func(track *webrtc.TrackRemote, publication *lksdk.RemoteTrackPublication, who *lksdk.RemoteParticipant) {
		fields := map[string]any{
			"user": who.Identity(), "kind": track.Kind().String(), "sid": publication.SID(), "codec": track.Codec().MimeType,
		}
		say("track", fields)
		go watch(track, fields)
	}
	return called
}

// watch counts what comes of a track.
func watch(track *webrtc.TrackRemote, fields map[string]any) {
	var packets, bytes int
	var size pictureSize
	due := time.Now()
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		packets++
		bytes += len(packet.Payload)
		if track.Codec().MimeType == webrtc.MimeTypeH264 {
			size.look(packet.Payload)
		}
		if time.Now().Before(due) {
			continue
		}
		due = time.Now().Add(200 * time.Millisecond)
		say("media", map[string]any{
			"user": fields["user"], "kind": fields["kind"], "sid": fields["sid"], "packets": packets, "bytes": bytes,
			"width": size.width, "height": size.height,
		})
	}
}
