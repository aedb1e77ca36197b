//! `media`: a large file up and down, and messages while thumbnails are made.

use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Ctx, per_op, room_with};
use crate::{
    client::{ApiError, Res, User, text},
    procstat::Sampler,
    stats::{Lat, round3},
};

#[derive(Args, Clone, Debug)]
pub struct MediaArgs {
    /// Size of the large file, in MB (10^6 bytes).
    #[arg(long, default_value_t = 100)]
    pub megabytes: usize,
    /// Width and height of the pictures that thumbnails are made of.
    #[arg(long, default_value_t = 2_000)]
    pub pixels: u32,
    /// Pictures, each asked for in two sizes.
    #[arg(long, default_value_t = 8)]
    pub pictures: usize,
    /// Messages sent while nothing else happens, and again while thumbnails are made.
    #[arg(long, default_value_t = 200)]
    pub messages: usize,
}

/// A picture that is no two pixels' repetition, so that decoding it is work.
fn picture(pixels: u32, seed: u32) -> Vec<u8> {
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, pixels, pixels);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut state = seed | 1;
    let rows: Vec<u8> = (0..pixels * pixels * 3)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((i / 512) as u8) ^ ((state >> 28) as u8)
        })
        .collect();
    let mut writer = encoder.write_header().expect("a PNG header");
    writer.write_image_data(&rows).expect("pixels of the right number");
    writer.finish().expect("a PNG in memory");
    png
}

/// Uploads; the server and id of the media.
async fn upload(cx: &Ctx, user: &User, kind: &str, body: Vec<u8>) -> Res<(String, Duration)> {
    let t0 = Instant::now();
    let reply = cx.server.upload(user, kind, body).await?.json();
    let uri = reply["content_uri"].as_str().unwrap_or_default();
    let id = uri.strip_prefix("mxc://").ok_or_else(|| ApiError::Io(format!("upload answered {reply}")))?;
    Ok((id.to_owned(), t0.elapsed()))
}

/// A large file up, and down again.
async fn large(cx: &Ctx, me: &User, bytes: usize, metrics: &mut Value) -> Res<()> {
    let body: Vec<u8> = (0..bytes).map(|i| (i / 7) as u8).collect();
    let sampler = Sampler::start(&cx.target);
    let (id, up) = upload(cx, me, "application/octet-stream", body).await?;
    let t0 = Instant::now();
    let down = cx.server.get_length(me, &format!("/_matrix/client/v1/media/download/{id}")).await?;
    let took = t0.elapsed();
    let memory = sampler.finish();
    let rate = |took: Duration| round3(bytes as f64 / 1e6 / took.as_secs_f64());
    metrics["upload"] = json!({"mb_per_s": rate(up)});
    metrics["download"] = json!({"mb_per_s": rate(took), "errors": u64::from(down != bytes)});
    let extra = memory["rss_peak_mb"].as_f64().unwrap_or(0.0) - memory["rss_start_mb"].as_f64().unwrap_or(0.0);
    metrics["memory"] = json!({"extra_mb": round3(extra)});
    Ok(())
}

async fn messages(cx: &Ctx, me: &User, room: &str, label: &str, count: usize) -> Lat {
    let mut lat = Lat::new();
    for i in 0..count {
        match cx.server.send(me, room, &format!("{label}{i}"), &text("beside pictures")).await {
            Ok(reply) => lat.ok(reply.took, reply.body.len()),
            Err(error) => lat.error(error.key()),
        }
    }
    lat
}

pub async fn media(cx: &Ctx, a: &MediaArgs) -> Res<Value> {
    let t_setup = Instant::now();
    let me = cx.fresh_user("m").await?;
    let room = room_with(&cx.server, &me, &[], "Pictures").await?;
    let mut pictures = Vec::new();
    for seed in 0..a.pictures {
        pictures.push(upload(cx, &me, "image/png", picture(a.pixels, seed as u32)).await?.0);
    }
    let setup = t_setup.elapsed();
    let mut metrics = json!({});
    let t0 = Instant::now();
    large(cx, &me, a.megabytes * 1_000_000, &mut metrics).await?;
    let sampler = Sampler::start(&cx.target);
    let alone = messages(cx, &me, &room, "alone", a.messages).await;
    let mut set = JoinSet::new();
    for id in pictures {
        for (width, method) in [(800, "scale"), (96, "crop")] {
            let (server, me, id) = (cx.server.clone(), me.clone(), id.clone());
            set.spawn(async move {
                let query = format!("width={width}&height={width}&method={method}");
                server
                    .call(
                        Method::GET,
                        &format!("/_matrix/client/v1/media/thumbnail/{id}?{query}"),
                        Some(&me.token),
                        None,
                    )
                    .await
            });
        }
    }
    let beside = messages(cx, &me, &room, "beside", a.messages).await;
    let mut thumbnails = Lat::new();
    while let Some(done) = set.join_next().await {
        match done {
            Ok(Ok(reply)) => thumbnails.ok(reply.took, reply.body.len()),
            Ok(Err(error)) => thumbnails.error(error.key()),
            Err(_) => thumbnails.error("task"),
        }
    }
    metrics["send_alone"] = alone.to_json(0.0);
    metrics["send_beside_thumbnails"] = beside.to_json(0.0);
    metrics["thumbnail"] = thumbnails.to_json(0.0);
    let wall = t0.elapsed().as_secs_f64();
    let mut res = sampler.finish();
    per_op(&mut res, (2 * a.messages + 2 * a.pictures) as u64);
    let params = json!({"megabytes": a.megabytes, "pixels": a.pixels, "pictures": a.pictures, "messages": a.messages});
    Ok(cx.line("media", params, setup, wall, metrics, res))
}

#[cfg(test)]
mod tests {
    use super::picture;

    #[test]
    fn a_picture_is_a_png_of_its_size() {
        let png = picture(64, 3);
        assert_eq!(&png[1..4], b"PNG");
        assert_eq!(png[16..24], [0, 0, 0, 64, 0, 0, 0, 64]);
        assert_ne!(png, picture(64, 5));
    }
}
