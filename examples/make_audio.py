"""Synthesise the sounds in examples/audio: speech, music, noise and a test sweep.

    python examples/make_audio.py [FOLDER]

Nothing is recorded: every sound is a formula and a fixed seed, so a second run makes the same
samples. FOLDER is ``audio/`` beside this script unless given. Waveforms are float64, shaped
``(n_samples,)`` while they are one voice and ``(n_channels, n_samples)`` when they are written.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray

Waveform: TypeAlias = NDArray[np.float64]

SEED = 1958
# Lossy coders overshoot the peak they were given; this leaves room for them below 0.9.
PEAK = 0.7


# --- Speech: a glottal source through formant resonators ------------------------------------------

# F1, F2 and F3 in Hz: the men's averages of G. E. Peterson and H. L. Barney, "Control methods used
# in a study of the vowels", JASA 24(2), 1952, table II, under the words that their speakers read.
VOWELS = {
    "heed": (270.0, 2290.0, 3010.0),
    "hid": (390.0, 1990.0, 2550.0),
    "head": (530.0, 1840.0, 2480.0),
    "had": (660.0, 1720.0, 2410.0),
    "hod": (730.0, 1090.0, 2440.0),
    "hawed": (570.0, 840.0, 2410.0),
    "hood": (440.0, 1020.0, 2240.0),
    "who'd": (300.0, 870.0, 2240.0),
    "hud": (640.0, 1190.0, 2390.0),
    "heard": (490.0, 1350.0, 1690.0),
}
# Above F3 vowels differ little: the resonances (2 k - 1) c / 4 l of a closed tube, l = 17.5 cm.
HIGH_FORMANTS = (3500.0, 4500.0)
FORMANT_BANDWIDTHS = (60.0, 90.0, 150.0, 200.0, 280.0)

# Where the energy of a consonant's noise lies, in Hz, and how long it lasts, in seconds: round
# figures chosen for the eye and the ear, with [s] above [sh] and [t] above [k] as in speech.
CONSONANTS = {
    "s": (3800.0, 8000.0, 0.11),
    "sh": (1900.0, 6000.0, 0.12),
    "f": (1000.0, 9000.0, 0.09),
    "t": (2500.0, 7000.0, 0.025),
    "k": (1200.0, 3000.0, 0.03),
}


@dataclass(frozen=True)
class Syllable:
    """A consonant (or none), a glide through vowels while the pitch moves, and a pause."""

    consonant: str | None
    vowels: tuple[str, ...]
    pitch: tuple[float, float]
    seconds: float
    pause_seconds: float = 0.04


def glottal_pulses(pitch: Waveform, sample_rate: int) -> Waveform:
    """Add up the harmonics of a voice whose pitch moves, none of them above Nyquist.

    Glottal flow falls by 12 dB an octave and radiation at the lips gives back 6 [1], which leaves
    harmonic ``k`` the amplitude ``1 / k``. Adding cosines, rather than placing impulses on whole
    samples, keeps the pitch exact and the sound free of aliases [2]::

        phase = 2 pi * cumsum(pitch) / sample_rate        x = sum over k of cos(k * phase) / k

    References:
        [1] D. H. Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67(3), 1980.
        [2] J. A. Moorer, "The synthesis of complex audio spectra by means of discrete summation
            formulas", JAES 24(9), 1976.
    """
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    nyquist = sample_rate / 2
    pulses = np.zeros_like(pitch)
    for k in range(1, math.ceil(nyquist / pitch.min())):
        # A harmonic that rises to Nyquist fades over the last tenth instead of breaking off.
        gain = np.clip((nyquist - k * pitch) / (0.1 * nyquist), 0.0, 1.0)
        pulses += gain * np.cos(k * phase) / k
    return pulses


def resonate(x: Waveform, frequency: Waveform, bandwidth: float, sample_rate: int) -> Waveform:
    """Filter with one formant whose centre moves: a two-pole resonator, unity gain at 0 Hz.

    With ``T = 1 / sample_rate`` (Klatt 1980, equations 1 and 2)::

        y[n] = A x[n] + B y[n-1] + C y[n-2]
        C = -exp(-2 pi bandwidth T)     B = 2 exp(-pi bandwidth T) cos(2 pi frequency T)
        A = 1 - B - C
    """
    c = -math.exp(-2 * math.pi * bandwidth / sample_rate)
    b = (
        2
        * math.exp(-math.pi * bandwidth / sample_rate)
        * np.cos(2 * np.pi * frequency / sample_rate)
    )
    a = 1 - b - c
    y = np.empty_like(x)
    last, before_last = 0.0, 0.0
    for n, (driven, b_n) in enumerate(zip((a * x).tolist(), b.tolist(), strict=True)):
        last, before_last = driven + b_n * last + c * before_last, last
        y[n] = last
    return y


def formant_tracks(vowels: Sequence[str], n_samples: int, tract: float) -> list[Waveform]:
    """Glide from vowel to vowel: one frequency track per formant, in Hz.

    Each vowel is held at its own point of the glide and a cosine joins it to the next. ``tract``
    scales every formant: about 1.15 for a tract that is shorter by as much.
    """
    targets = np.array([VOWELS[vowel] + HIGH_FORMANTS for vowel in vowels]) * tract
    position = np.linspace(0, len(vowels) - 1, n_samples)
    eased = np.floor(position) + 0.5 - 0.5 * np.cos(np.pi * (position % 1))
    return [np.interp(eased, np.arange(len(vowels)), formant) for formant in targets.T]


def voiced(syllable: Syllable, sample_rate: int, tract: float, rng: Generator) -> Waveform:
    """Speak the vowels of a syllable: pulses and a little breath through a cascade of formants."""
    n_samples = round(syllable.seconds * sample_rate)
    seconds = np.arange(n_samples) / sample_rate
    # A semitone is 6 %; a living pitch wavers by about 1 %, five times a second.
    waver = 1 + 0.01 * np.sin(2 * np.pi * 5 * seconds)
    x = glottal_pulses(np.geomspace(*syllable.pitch, n_samples) * waver, sample_rate)
    x += 0.02 * rng.standard_normal(n_samples)
    x *= fade(n_samples, sample_rate, attack_seconds=0.03, release_seconds=0.07)
    tracks = formant_tracks(syllable.vowels, n_samples, tract)
    for track, bandwidth in zip(tracks, FORMANT_BANDWIDTHS, strict=True):
        if track.max() < sample_rate / 2:
            x = resonate(x, track, bandwidth, sample_rate)
    return x


def consonant_noise(name: str, sample_rate: int, rng: Generator) -> Waveform:
    """Hiss or burst: white noise in the band of the consonant, faded at both ends."""
    low, high, seconds = CONSONANTS[name]
    n_samples = round(seconds * sample_rate)
    noise = band_pass(rng.standard_normal(n_samples), sample_rate, low, high)
    return noise * fade(n_samples, sample_rate, seconds * 0.2, seconds * 0.4)


def say(
    phrase: Sequence[Syllable], sample_rate: int, rng: Generator, *, tract: float = 1.0
) -> Waveform:
    """Join the syllables of a phrase, with pauses before, between and after them.

    The pauses are a quiet room, its RMS 66 dB below the vowels' peak, not digital silence.
    """
    parts = [silence(0.1, sample_rate)]
    for syllable in phrase:
        vowel = normalise(voiced(syllable, sample_rate, tract, rng))
        if syllable.consonant is not None:
            parts.append(0.15 * consonant_noise(syllable.consonant, sample_rate, rng))
        parts += [vowel, silence(syllable.pause_seconds, sample_rate)]
    phrase_alone = np.concatenate([*parts, silence(0.1, sample_rate)])
    return phrase_alone + 0.0005 * rng.standard_normal(phrase_alone.size)


# --- Music ----------------------------------------------------------------------------------------


def struck_string(midi_note: int, seconds: float, sample_rate: int) -> Waveform:
    """Add up the partials of a stiff string; the higher they are, the sooner they die away.

    Stiffness stretches the harmonics (H. Fletcher, "Normal vibration frequencies of a stiff piano
    string", JASA 36(1), 1964)::

        f[k] = k f0 sqrt(1 + stiffness k**2)     x = sum of exp(-t (1 + k / 2)) sin(2 pi f[k] t) / k
    """
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    x = np.zeros_like(t)
    for k in range(1, 25):
        frequency = k * midi_to_hz(midi_note) * math.sqrt(1 + 4e-4 * k**2)
        if frequency < sample_rate / 2:
            x += np.exp(-t * (1 + k / 2)) * np.sin(2 * np.pi * frequency * t) / k
    return x * fade(t.size, sample_rate, attack_seconds=0.004, release_seconds=0.05)


def plucked_string(midi_note: int, seconds: float, sample_rate: int, rng: Generator) -> Waveform:
    """Send a burst of noise round a delay line that averages neighbours.

    The average loses the high harmonics first, as a string does (K. Karplus and A. Strong, "Digital
    synthesis of plucked-string and drum timbres", Computer Music Journal 7(2), 1983)::

        y[n] = (y[n-N] + y[n-N-1]) / 2       for a pitch of sample_rate / (N + 1/2)
    """
    period = round(sample_rate / midi_to_hz(midi_note) - 0.5)
    y = rng.uniform(-1, 1, period + 1).tolist()
    for n in range(period + 1, round(seconds * sample_rate)):
        y.append((y[n - period] + y[n - period - 1]) / 2)
    x = np.array(y)
    return x * fade(x.size, sample_rate, attack_seconds=0.001, release_seconds=0.05)


def bell(frequency: float, seconds: float, sample_rate: int) -> Waveform:
    """Strike a bell: eleven partials, no harmonic series, the lowest ringing the longest.

    Ratios, beats in Hz, amplitudes and relative lengths are those of J.-C. Risset, *An Introductory
    Catalogue of Computer Synthesized Sounds*, Bell Laboratories, 1969, no. 430. A partial decays by
    60 dB over its length.
    """
    partials = (
        (0.56, 0.0, 1.00, 1.000),
        (0.56, 1.0, 0.67, 0.900),
        (0.92, 0.0, 1.00, 0.650),
        (0.92, 1.7, 1.80, 0.550),
        (1.19, 0.0, 2.67, 0.325),
        (1.70, 0.0, 1.67, 0.350),
        (2.00, 0.0, 1.46, 0.250),
        (2.74, 0.0, 1.33, 0.200),
        (3.00, 0.0, 1.33, 0.150),
        (3.76, 0.0, 1.00, 0.100),
        (4.07, 0.0, 1.33, 0.075),
    )
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    x = np.zeros_like(t)
    for ratio, beat, amplitude, length in partials:
        decay = 10 ** (-3 * t / (length * seconds))
        x += amplitude * decay * np.sin(2 * np.pi * (ratio * frequency + beat) * t)
    return x * fade(t.size, sample_rate, attack_seconds=0.003, release_seconds=0.05)


def midi_to_hz(midi_note: int) -> float:
    """Convert a MIDI note to Hz, twelve equal steps an octave: ``440 * 2**((note - 69) / 12)``."""
    return 440.0 * 2 ** ((midi_note - 69) / 12)


# --- Noise and sweeps -----------------------------------------------------------------------------


def pink_noise(n_samples: int, sample_rate: int, rng: Generator) -> Waveform:
    """Tilt white noise to a power of ``1 / f``: the same in every octave, from 20 Hz up.

    Shaped in the frequency domain (J. Timmer and M. Koenig, "On generating power law noise",
    Astronomy & Astrophysics 300, 1995)::

        X[k] = W[k] / sqrt(max(f[k], 20))
    """
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequency = np.fft.rfftfreq(n_samples, 1 / sample_rate)
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 20.0)), n_samples)


def logarithmic_sweep(f_min: float, f_max: float, seconds: float, sample_rate: int) -> Waveform:
    """Sweep a sine through equal octaves in equal times.

    With ``r = ln(f_max / f_min)`` and the duration ``T`` (A. Farina, "Simultaneous measurement of
    impulse response and distortion with a swept-sine technique", AES 108th Convention, 2000)::

        x(t) = sin(2 pi f_min (T / r) (exp(r t / T) - 1))     frequency(t) = f_min exp(r t / T)
    """
    r = math.log(f_max / f_min)
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    x = np.sin(2 * np.pi * f_min * seconds / r * np.expm1(r * t / seconds))
    return x * fade(t.size, sample_rate, attack_seconds=0.02, release_seconds=0.02)


# --- Shaping and mixing ---------------------------------------------------------------------------


def band_pass(x: Waveform, sample_rate: int, low: float, high: float) -> Waveform:
    """Keep ``low`` to ``high`` Hz: ones there, and raised cosines over a quarter octave beyond."""
    frequency = np.maximum(np.fft.rfftfreq(x.size, 1 / sample_rate), 1e-9)
    octaves_outside = np.maximum(np.log2(low / frequency), np.log2(frequency / high))
    gain = 0.5 + 0.5 * np.cos(np.pi * np.clip(octaves_outside / 0.25, 0.0, 1.0))
    return np.fft.irfft(np.fft.rfft(x) * gain, x.size)


def fade(
    n_samples: int, sample_rate: int, attack_seconds: float, release_seconds: float
) -> Waveform:
    """Rise from zero and return to it along raised cosines; one in between."""
    n = np.arange(n_samples)
    rise = np.clip(n / (attack_seconds * sample_rate), 0.0, 1.0)
    fall = np.clip((n_samples - 1 - n) / (release_seconds * sample_rate), 0.0, 1.0)
    return (0.5 - 0.5 * np.cos(np.pi * rise)) * (0.5 - 0.5 * np.cos(np.pi * fall))


def silence(seconds: float, sample_rate: int) -> Waveform:
    """Return zeros."""
    return np.zeros(round(seconds * sample_rate))


def normalise(x: Waveform) -> Waveform:
    """Scale so that the loudest sample of any channel is at one."""
    return x / float(np.abs(x).max())


def pan(x: Waveform, position: float) -> Waveform:
    """Place one voice between left (0) and right (1): gains ``cos`` and ``sin``, equal in power."""
    angle = position * math.pi / 2
    return np.stack([math.cos(angle) * x, math.sin(angle) * x])


def mix(voices: Sequence[tuple[float, Waveform]], seconds: float, sample_rate: int) -> Waveform:
    """Add up voices of shape ``(..., n_samples)``, each from its own start in seconds."""
    n_samples = round(seconds * sample_rate)
    total = np.zeros((*voices[0][1].shape[:-1], n_samples))
    for start_seconds, voice in voices:
        start = round(start_seconds * sample_rate)
        n_heard = min(voice.shape[-1], n_samples - start)
        total[..., start : start + n_heard] += voice[..., :n_heard]
    # A voice may be cut off by the end; 20 ms of fade keep that from clicking.
    return total * fade(n_samples, sample_rate, attack_seconds=1e-4, release_seconds=0.02)


# --- The sounds -----------------------------------------------------------------------------------


def vowels(sample_rate: int, rng: Generator) -> Waveform:
    """Five steady vowels, from [i] to [u], with a pause after each."""
    words = ("heed", "head", "hod", "hawed", "who'd")
    phrase = [Syllable(None, (word,), (125, 105), 0.32, 0.09) for word in words]
    return say(phrase, sample_rate, rng)


def groesse_und_waerme(sample_rate: int, rng: Generator) -> Waveform:
    """Something near the German words of its file name, falling in pitch as statements do."""
    phrase = [
        Syllable("k", ("hood", "heard", "heard"), (118, 142), 0.42, 0.03),
        Syllable("s", ("hud",), (135, 118), 0.22, 0.18),
        Syllable(None, ("hood", "who'd"), (112, 116), 0.24, 0.02),
        Syllable("t", ("heard",), (114, 110), 0.05, 0.05),
        Syllable("f", ("head", "had", "heard"), (128, 112), 0.40, 0.02),
        Syllable(None, ("who'd", "hud"), (106, 82), 0.34, 0.0),
    ]
    return say(phrase, sample_rate, rng)


def telephone(sample_rate: int, rng: Generator) -> Waveform:
    """A rising question as a telephone lets it through, 300 to 3400 Hz (ITU-T G.712)."""
    phrase = [
        Syllable(None, ("hod", "hawed"), (190, 205), 0.28, 0.12),
        Syllable("sh", ("heed",), (200, 185), 0.24, 0.05),
        Syllable("t", ("head", "hid"), (185, 195), 0.26, 0.05),
        Syllable("k", ("hod", "heed"), (190, 290), 0.42, 0.0),
    ]
    line_noise = 0.004 * rng.standard_normal(round(1.9 * sample_rate))
    voices = [(0.0, say(phrase, sample_rate, rng, tract=1.12)), (0.0, line_noise)]
    return band_pass(mix(voices, 1.9, sample_rate), sample_rate, 300.0, 3400.0)


def two_speakers(sample_rate: int, rng: Generator) -> Waveform:
    """A high voice on the left asks, a low voice on the right answers and begins too early."""
    question = [
        Syllable("f", ("had", "heed"), (210, 230), 0.34, 0.06),
        Syllable("s", ("hid",), (225, 215), 0.18, 0.05),
        Syllable("t", ("who'd", "hod"), (220, 330), 0.46),
    ]
    answer = [
        Syllable(None, ("hawed", "hood"), (105, 120), 0.36, 0.10),
        Syllable("sh", ("heard",), (112, 104), 0.24, 0.04),
        Syllable("k", ("had", "hud"), (108, 80), 0.50),
    ]
    high = pan(say(question, sample_rate, rng, tract=1.17), 0.25)
    low = pan(say(answer, sample_rate, rng, tract=0.97), 0.75)
    return mix([(0.0, high), (1.3, low)], 3.1, sample_rate)


def chords(sample_rate: int, _rng: Generator) -> Waveform:
    """Four chords in C major (I, vi, IV, V), their notes spread from left to right."""
    progression = (
        (48, 60, 64, 67, 72),
        (45, 57, 64, 69, 72),
        (41, 60, 65, 69, 77),
        (43, 59, 62, 67, 74),
    )
    notes = [
        # The notes of a chord follow one another by 15 ms, as fingers do.
        (0.85 * bar + 0.015 * i, pan(struck_string(note, 1.8, sample_rate), 0.2 + 0.15 * i))
        for bar, chord in enumerate(progression)
        for i, note in enumerate(chord)
    ]
    return mix(notes, 3.6, sample_rate)


def plucked(sample_rate: int, rng: Generator) -> Waveform:
    """A rising arpeggio of E minor that crosses from left to right."""
    notes = [
        (0.2 * i, pan(plucked_string(note, 1.5, sample_rate, rng), 0.15 + 0.14 * i))
        for i, note in enumerate((40, 47, 52, 55, 59, 64))
    ]
    return mix(notes, 1.7, sample_rate)


def bells(sample_rate: int, _rng: Generator) -> Waveform:
    """Three strokes of two bells."""
    strokes = [
        (start, bell(frequency, 2.4, sample_rate))
        for start, frequency in ((0.05, 520.0), (0.75, 693.0), (1.45, 520.0))
    ]
    return mix(strokes, 3.0, sample_rate)


def bursts(sample_rate: int, rng: Generator) -> Waveform:
    """Seven bursts of noise, one octave each, from 62.5 Hz to Nyquist at 16 kHz."""
    n_samples = round(0.16 * sample_rate)
    shape = fade(n_samples, sample_rate, attack_seconds=0.01, release_seconds=0.06)
    octaves = [62.5 * 2**i for i in range(7)]
    noises = [
        normalise(band_pass(rng.standard_normal(n_samples), sample_rate, low, 2 * low)) * shape
        for low in octaves
    ]
    return mix([(0.02 + 0.21 * i, noise) for i, noise in enumerate(noises)], 1.5, sample_rate)


def surf(sample_rate: int, rng: Generator) -> Waveform:
    """Pink noise that swells and ebbs twice, each channel with its own noise and its own time."""
    n_samples = round(2.0 * sample_rate)
    seconds = np.arange(n_samples) / sample_rate
    channels = [
        pink_noise(n_samples, sample_rate, rng) * (0.12 + np.sin(np.pi * (seconds - lag)) ** 4)
        for lag in (0.0, 0.12)
    ]
    return np.stack(channels) * fade(n_samples, sample_rate, 0.05, 0.05)


def sweep(sample_rate: int, _rng: Generator) -> Waveform:
    """Nine octaves, 40 Hz to 20480 Hz: a straight line wherever the mel scale is logarithmic."""
    return logarithmic_sweep(40.0, 20480.0, 1.6, sample_rate)


@dataclass(frozen=True)
class Sound:
    """One file: where it goes, how it is stored, and the function that makes it."""

    name: str
    sample_rate: int
    subtype: str
    make: Callable[[int, Generator], Waveform]


# A sound's seed is its place in this list, so that a new one at the end changes no other.
SOUNDS = (
    Sound("speech/vowels.wav", 16_000, "PCM_16", vowels),
    Sound("speech/größe und Wärme.flac", 16_000, "PCM_16", groesse_und_waerme),
    Sound("speech/telephone.wav", 8_000, "PCM_16", telephone),
    Sound("speech/two-speakers.opus", 48_000, "OPUS", two_speakers),
    Sound("music/chords.mp3", 44_100, "MPEG_LAYER_III", chords),
    Sound("music/plucked.wav", 22_050, "PCM_24", plucked),
    Sound("music/bells.ogg", 44_100, "VORBIS", bells),
    Sound("noise/bursts.wav", 16_000, "FLOAT", bursts),
    Sound("noise/surf.flac", 22_050, "PCM_16", surf),
    Sound("test/sweep.flac", 48_000, "PCM_24", sweep),
)

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".opus": "OGG", ".mp3": "MP3"}


def write_sounds(folder: Path) -> list[Path]:
    """Make every sound and write it below ``folder``; return the paths in the order of the list."""
    paths = []
    for i, sound in enumerate(SOUNDS):
        waveform = PEAK * normalise(sound.make(sound.sample_rate, np.random.default_rng([SEED, i])))
        path = folder / PurePosixPath(sound.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(
            path,
            waveform.T,  # libsndfile wants (n_samples, n_channels)
            sound.sample_rate,
            subtype=sound.subtype,
            format=FORMATS[path.suffix],
        )
        paths.append(path)
    return paths


def main() -> None:
    """Write the sounds and print one line for each."""
    parser = argparse.ArgumentParser(description="Synthesise the sounds in examples/audio.")
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        type=Path,
        default=Path(__file__).resolve().parent / "audio",
        help="where to write them (default: audio/ beside this script)",
    )
    for path in write_sounds(parser.parse_args().folder):
        info = soundfile.info(path)
        print(
            f"{path}: {info.format} {info.subtype}, {info.samplerate} Hz, "
            f"{info.channels} channel(s), {info.duration:.2f} s, {path.stat().st_size:,} bytes"
        )


if __name__ == "__main__":
    main()
