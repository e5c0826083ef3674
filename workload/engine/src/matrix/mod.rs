//! What a layer multiplies by, kept as the file stores it. Reading weights is what decoding spends its time
//! on, so the formats in which the supported models keep nearly all of theirs have kernels here; the rest
//! goes through the inference library.

#[cfg(target_arch = "x86_64")]
mod activation;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod packed;

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module as _, Result, Tensor};
use std::sync::Arc;

/// A matrix of shape `(outputs, inputs)`.
pub(crate) enum Matrix {
    #[cfg(target_arch = "x86_64")]
    Packed(packed::Packed),
    Library(QMatMul),
}

impl Matrix {
    pub(crate) fn new(stored: Arc<QTensor>) -> Result<Self> {
        #[cfg(target_arch = "x86_64")]
        if let Some(packed) = packed::Packed::new(&stored)? {
            return Ok(Self::Packed(packed));
        }
        Self::of_the_library(stored)
    }

    fn of_the_library(stored: Arc<QTensor>) -> Result<Self> {
        // It has no fast kernel for these: a little more memory for much less time.
        let is_slow = matches!(stored.dtype(), GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1);
        let matrix = if is_slow {
            Arc::new(QTensor::quantize(&stored.dequantize(&Device::Cpu)?, GgmlDType::Q8_0)?)
        } else {
            stored
        };
        Ok(Self::Library(QMatMul::from_arc(matrix)?))
    }

    /// From `(tokens, inputs)` to `(tokens, outputs)`.
    pub(crate) fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Packed(packed) => packed.forward(hidden),
            Self::Library(matrix) => matrix.forward(hidden),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_without_a_kernel_gets_nearly_the_same_products() {
        let values: Vec<f32> = (0..64 * 64).map(|index| ((index * index) as f32 * 0.37).sin()).collect();
        let numbers = Tensor::from_vec(values, (64, 64), &Device::Cpu).unwrap();
        let weights = Arc::new(QTensor::quantize(&numbers, GgmlDType::Q5_0).unwrap());
        let ours = Matrix::new(Arc::clone(&weights)).unwrap().forward(&numbers).unwrap();
        let theirs = Matrix::of_the_library(weights).unwrap().forward(&numbers).unwrap();
        let difference = (ours - theirs).unwrap().abs().unwrap().max_all().unwrap();
        assert!(difference.to_scalar::<f32>().unwrap() < 0.3, "{difference}");
    }
}
