//! A matrix in one of the packed formats, multiplied row by row. Rows go to the library's threads in parts.

use super::activation::{BLOCK, Block};
use super::avx2::Kernel;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows that a thread takes at once.
const ROWS: usize = 64;

/// How a row's blocks are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// Sixteen bytes of nibbles, a scale, and an offset.
    Q4_1,
    /// As above with a fifth bit each; the offset is always minus sixteen.
    Q5_0,
    /// Signed bytes and a scale.
    Q8_0,
}

impl Format {
    fn of(dtype: GgmlDType) -> Option<Self> {
        match dtype {
            GgmlDType::Q4_1 => Some(Self::Q4_1),
            GgmlDType::Q5_0 => Some(Self::Q5_0),
            GgmlDType::Q8_0 => Some(Self::Q8_0),
            _ => None,
        }
    }
}

pub(crate) struct Packed {
    weights: Arc<QTensor>,
    format: Format,
    outputs: usize,
    inputs: usize,
    /// That there is one.
    kernel: Kernel,
}

impl Packed {
    /// Nothing where there is no kernel for the format on this processor.
    pub(super) fn new(stored: &Arc<QTensor>) -> Result<Option<Self>> {
        let (Some(format), Some(kernel)) = (Format::of(stored.dtype()), Kernel::detect()) else {
            return Ok(None);
        };
        let (outputs, inputs) = stored.shape().dims2()?;
        if outputs == 0 || inputs == 0 || !inputs.is_multiple_of(BLOCK) {
            return Ok(None);
        }
        Ok(Some(Self { weights: Arc::clone(stored), format, outputs, inputs, kernel }))
    }

    pub(super) fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        hidden.apply_op1_no_bwd(self)
    }

    /// From rows of `inputs` numbers to rows of `outputs` numbers.
    fn multiply(&self, numbers: &[f32]) -> Result<Vec<f32>> {
        let blocks = self.kernel.quantize(numbers);
        let tokens: Vec<&[Block]> = blocks.chunks(self.inputs / BLOCK).collect();
        let weights = self.weights.data()?;
        let row_size = weights.len() / self.outputs;
        // By output first, so that each thread has a stretch of its own.
        let mut products = vec![0.0; self.outputs * tokens.len()];
        let parts = products.chunks_mut(ROWS * tokens.len()).zip(weights.chunks(ROWS * row_size));
        // The threads share what they run; nobody waits for a part.
        let parts: Vec<_> = parts.map(Mutex::new).collect();
        candle_core::utils::barrier_pool().execute_chunked(parts.len(), |range| {
            for part in &parts[range] {
                let (products, rows) = &mut *part.lock().unwrap_or_else(PoisonError::into_inner);
                self.kernel.multiply(self.format, rows, row_size, &tokens, products);
            }
        });
        drop(parts);
        Ok(by_token(products, tokens.len()))
    }
}

impl CustomOp1 for Packed {
    fn name(&self) -> &'static str {
        "packed-matrix"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (tokens, inputs) = layout.shape().dims2()?;
        let (CpuStorage::F32(numbers), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("only contiguous numbers of single precision are multiplied");
        };
        if inputs != self.inputs {
            bail!("{inputs} numbers for a matrix of {} columns", self.inputs);
        }
        let products = self.multiply(&numbers[start..end])?;
        Ok((CpuStorage::F32(products), Shape::from((tokens, self.outputs))))
    }
}

/// Turns `(outputs, tokens)` into `(tokens, outputs)`.
fn by_token(products: Vec<f32>, tokens: usize) -> Vec<f32> {
    if tokens == 1 {
        return products;
    }
    (0..tokens).flat_map(|token| products.iter().skip(token).step_by(tokens)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::quantized::QMatMul;
    use candle_core::{Device, Module as _};

    const OUTPUTS: usize = 70;
    const INPUTS: usize = 96;

    /// Numbers without a pattern that a kernel could miss.
    fn numbers(rows: usize) -> Tensor {
        let values: Vec<f32> =
            (0..rows * INPUTS).map(|index| ((index * index) as f32 * 0.37).sin() + 0.2).collect();
        Tensor::from_vec(values, (rows, INPUTS), &Device::Cpu).unwrap()
    }

    /// The farthest that a product is from the one in full precision, as a share of the products' size.
    fn error(format: GgmlDType, tokens: usize) -> f32 {
        let weights = QTensor::quantize(&numbers(OUTPUTS), format).unwrap();
        let exact = QMatMul::Tensor(weights.dequantize(&Device::Cpu).unwrap());
        let packed = Packed::new(&Arc::new(weights)).unwrap().expect("a processor with AVX2");
        let hidden = numbers(tokens);
        let (ours, exact) = (packed.forward(&hidden).unwrap(), exact.forward(&hidden).unwrap());
        assert_eq!(ours.dims(), [tokens, OUTPUTS]);
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let size = flat(&exact).iter().fold(0.0_f32, |size, number| size.max(number.abs()));
        let pairs = flat(&ours).into_iter().zip(flat(&exact));
        pairs.fold(0.0_f32, |error, (ours, exact)| error.max((ours - exact).abs())) / size
    }

    #[test]
    fn every_format_multiplies_like_its_full_precision() {
        for format in [GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q8_0] {
            for tokens in [1, 3, 4, 9] {
                let error = error(format, tokens);
                assert!(error < 0.01, "{format:?}, {tokens} tokens: {error}");
            }
        }
    }

    #[test]
    fn other_formats_are_left_to_the_library() {
        let weights = QTensor::quantize(&numbers(OUTPUTS), GgmlDType::F16).unwrap();
        assert!(Packed::new(&Arc::new(weights)).unwrap().is_none());
    }
}
