//! From the bytes of an image to those of a smaller one. Runs on a thread of its own.

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

use image::{
    AnimationDecoder as _, Delay, DynamicImage, Frame, Frames, ImageDecoder as _, ImageError, ImageFormat, ImageReader,
    Limits, RgbaImage,
    codecs::{
        gif::{GifDecoder, GifEncoder, Repeat},
        jpeg::JpegEncoder,
        png::PngDecoder,
        webp::WebPDecoder,
    },
    imageops::FilterType,
    metadata::Orientation,
};

use super::{Method, Size};

/// Longest side of an image that is decoded, in pixels.
const SIDE_MAX: u32 = 32_768;
/// Most pixels of an image that is decoded: cameras of telephones have 50 million.
const PIXELS_MAX: u64 = 64_000_000;
/// Memory that a decoder may take, in bytes: four per pixel.
const DECODER_BYTES_MAX: u64 = 256 << 20;
/// Pixels that are decoded of a moving image, over all its pictures; longer ones are shown still.
const MOVING_PIXELS_MAX: u64 = 100_000_000;
/// Pixels of each of its pictures.
const MOVING_PICTURE_PIXELS_MAX: u64 = 4_000_000;
/// Pictures of a moving image.
const FRAMES_MAX: usize = 500;
/// Effort for the colours of moving thumbnails, from 1 (best) to 30 (fastest).
const GIF_SPEED: i32 = 20;
/// Quality of JPEG thumbnails, of 100.
const JPEG_QUALITY: u8 = 82;
/// From this factor on an image is first shrunk roughly.
const ROUGH_FACTOR: u32 = 4;

/// Why there is no thumbnail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is no image, of no known kind, or broken.
    NotAnImage,
    /// It is too large to be decoded.
    TooLarge,
}

/// What a wish leads to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The original is as small already.
    Original { content_type: &'static str },
    /// A new image, moving or not.
    Image { bytes: Vec<u8>, content_type: &'static str, animated: bool },
}

/// What the head of an image says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) format: ImageFormat,
    /// As it is shown, turned as its metadata say.
    pub(crate) width: u32,
    pub(crate) height: u32,
    orientation: Orientation,
}

impl Head {
    pub(crate) fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    pub(crate) fn content_type(&self) -> &'static str {
        self.format.to_mime_type()
    }
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Limits(_) => Self::TooLarge,
            _ => Self::NotAnImage,
        }
    }
}

/// As [`render`]; a panic of a decoder is an image that cannot be read.
pub(crate) fn guarded(source: &[u8], size: Size, animated: bool) -> Result<Outcome, Refusal> {
    catch_unwind(AssertUnwindSafe(|| render(source, size, animated))).unwrap_or(Err(Refusal::NotAnImage))
}

/// Reads the head of an image, whatever type it was given; a panic of a decoder is no image.
pub(crate) fn inspect(source: &[u8]) -> Result<Head, Refusal> {
    catch_unwind(AssertUnwindSafe(|| head(source))).unwrap_or(Err(Refusal::NotAnImage))
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODER_BYTES_MAX);
    limits
}

type Reader<'a> = ImageReader<Cursor<&'a [u8]>>;

fn reader(source: &[u8]) -> Result<(Reader<'_>, ImageFormat), Refusal> {
    let reader = ImageReader::new(Cursor::new(source)).with_guessed_format().map_err(|_| Refusal::NotAnImage)?;
    let known = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP];
    let format = reader.format().filter(|format| known.contains(format)).ok_or(Refusal::NotAnImage)?;
    let mut reader = reader;
    reader.limits(limits());
    Ok((reader, format))
}

fn head(source: &[u8]) -> Result<Head, Refusal> {
    let (reader, format) = reader(source)?;
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS_MAX {
        return Err(Refusal::TooLarge);
    }
    if width == 0 || height == 0 {
        return Err(Refusal::NotAnImage);
    }
    let (width, height) = if turns(orientation) { (height, width) } else { (width, height) };
    Ok(Head { format, width, height, orientation })
}

/// Whether width and height change places.
const fn turns(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    )
}

/// Makes an image of this size, moving if that is wanted and possible.
fn render(source: &[u8], size: Size, animated: bool) -> Result<Outcome, Refusal> {
    let head = head(source)?;
    let content_type = head.content_type();
    let fits = head.width <= size.width && head.height <= size.height;
    let moving = (fits || animated) && is_moving(source, &head)?;
    if fits && (animated || !moving) {
        // A broken image is refused, not served as its own thumbnail.
        decode(source, &head)?;
        return Ok(Outcome::Original { content_type });
    }
    let plan = Plan::new((head.width, head.height), size);
    if animated
        && moving
        && let Some(bytes) = move_small(source, &head, &plan)?
    {
        return Ok(Outcome::Image { bytes, content_type: ImageFormat::Gif.to_mime_type(), animated: true });
    }
    let still = plan.apply(decode(source, &head)?).into_rgba8();
    let (bytes, format) = encode(still)?;
    Ok(Outcome::Image { bytes, content_type: format.to_mime_type(), animated: false })
}

/// The first or only picture, upright.
fn decode(source: &[u8], head: &Head) -> Result<DynamicImage, Refusal> {
    let mut image = reader(source)?.0.decode()?;
    image.apply_orientation(head.orientation);
    Ok(image)
}

/// JPEG, or PNG where something shines through.
fn encode(image: RgbaImage) -> Result<(Vec<u8>, ImageFormat), Refusal> {
    let mut bytes = Vec::new();
    if image.pixels().any(|pixel| pixel.0[3] != u8::MAX) {
        image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
        return Ok((bytes, ImageFormat::Png));
    }
    let opaque = DynamicImage::ImageRgba8(image).into_rgb8();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(&opaque)?;
    Ok((bytes, ImageFormat::Jpeg))
}

/// What to cut off and how far to shrink. Never enlarges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// Left, top, width, height of the part that is kept.
    part: (u32, u32, u32, u32),
    /// Width and height of the result.
    size: (u32, u32),
}

impl Plan {
    fn new((width, height): (u32, u32), size: Size) -> Self {
        // In floating point: sides are far below what it holds exactly.
        let (w, h) = (f64::from(width), f64::from(height));
        let factors = (f64::from(size.width) / w, f64::from(size.height) / h);
        let side = |length: f64, max: u32| {
            // A rounded length between 1 and the side of an image.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what u32 holds")]
            let length = length.round().clamp(1.0, f64::from(max)) as u32;
            length
        };
        match size.method {
            Method::Scale => {
                let factor = factors.0.min(factors.1).min(1.0);
                Self { part: (0, 0, width, height), size: (side(w * factor, width), side(h * factor, height)) }
            }
            Method::Crop => {
                let factor = factors.0.max(factors.1).min(1.0);
                let (part_w, part_h) =
                    (side(f64::from(size.width) / factor, width), side(f64::from(size.height) / factor, height));
                let part = ((width - part_w) / 2, (height - part_h) / 2, part_w, part_h);
                Self { part, size: (size.width.min(part_w), size.height.min(part_h)) }
            }
        }
    }

    fn apply(&self, image: DynamicImage) -> DynamicImage {
        let (x, y, part_w, part_h) = self.part;
        let whole = (x, y, part_w, part_h) == (0, 0, image.width(), image.height());
        let image = if whole { image } else { image.crop_imm(x, y, part_w, part_h) };
        let (width, height) = self.size;
        if (image.width(), image.height()) == (width, height) {
            return image;
        }
        let rough = image.width() >= ROUGH_FACTOR * width && image.height() >= ROUGH_FACTOR * height;
        // Averaging whole pixels is many times faster, and the fine step after it hides the difference.
        let image = if rough { image.thumbnail_exact(2 * width, 2 * height) } else { image };
        image.resize_exact(width, height, FilterType::CatmullRom)
    }
}

/// Whether there is more than one picture. Of a GIF with large pictures that is assumed.
fn is_moving(source: &[u8], head: &Head) -> Result<bool, Refusal> {
    Ok(match head.format {
        ImageFormat::Gif if head.pixels() > MOVING_PICTURE_PIXELS_MAX => true,
        ImageFormat::Gif => {
            frames(source, head.format)?.is_some_and(|frames| frames.take(2).filter_map(Result::ok).count() > 1)
        }
        ImageFormat::Png => PngDecoder::with_limits(Cursor::new(source), limits())?.is_apng()?,
        ImageFormat::WebP => WebPDecoder::new(Cursor::new(source))?.has_animation(),
        _ => false,
    })
}

/// The pictures of an image that may move.
fn frames(source: &[u8], format: ImageFormat) -> Result<Option<Frames<'_>>, Refusal> {
    let source = Cursor::new(source);
    Ok(match format {
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(source)?;
            decoder.set_limits(limits())?;
            Some(decoder.into_frames())
        }
        ImageFormat::Png => Some(PngDecoder::with_limits(source, limits())?.apng()?.into_frames()),
        ImageFormat::WebP => Some(WebPDecoder::new(source)?.into_frames()),
        _ => None,
    })
}

/// A moving thumbnail; none if the image is too long for one.
fn move_small(source: &[u8], head: &Head, plan: &Plan) -> Result<Option<Vec<u8>>, Refusal> {
    if head.pixels() > MOVING_PICTURE_PIXELS_MAX {
        return Ok(None);
    }
    let Some(frames) = frames(source, head.format)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, GIF_SPEED);
    encoder.set_repeat(Repeat::Infinite)?;
    let mut pixels = 0;
    for (index, frame) in frames.enumerate() {
        let frame = frame?;
        let delay: Delay = frame.delay();
        let picture = frame.into_buffer();
        pixels += u64::from(picture.width()) * u64::from(picture.height());
        if index >= FRAMES_MAX || pixels > MOVING_PIXELS_MAX {
            return Ok(None);
        }
        let small = plan.apply(DynamicImage::ImageRgba8(picture)).into_rgba8();
        encoder.encode_frame(Frame::from_parts(small, 0, 0, delay))?;
    }
    drop(encoder);
    Ok(Some(bytes))
}
