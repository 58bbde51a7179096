use call_media::*;
#[test]
fn phase() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = String::new();
    for rate in [4000u32, 8000, 11025, 16000, 22050, 44100, 48001, 96000, 192000] {
        let path = dir.path().join("a.wav");
        let mut w = hound::WavWriter::create(&path, hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int }).unwrap();
        for i in 0..rate { w.write_sample((16384.0 * (std::f64::consts::TAU * 400.0 * i as f64 / rate as f64).sin()) as i16).unwrap(); }
        w.finalize().unwrap();
        let mut s = WavSource::open(&path).unwrap();
        let mut f = AudioFrame::SILENCE; let mut v = vec![];
        while s.next_frame(&mut f).unwrap() == SourceState::Frame { v.extend_from_slice(f.samples()); }
        let (mut a, mut b) = (0.0, 0.0);
        for i in 4800..43200 { let p = std::f64::consts::TAU * 400.0 * i as f64 / 48000.0; a += v[i] as f64 * p.sin(); b += v[i] as f64 * p.cos(); }
        let ph = b.atan2(a);
        all += &format!("{rate} delay samples {:.3} amp {:.5}\n", -ph / (std::f64::consts::TAU * 400.0) * 48000.0, (a*a+b*b).sqrt()*2.0/38400.0/16384.0);
    }
    panic!("\n{all}");
}
