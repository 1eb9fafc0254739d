using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Net.Pkcs11Interop.Common;
using Net.Pkcs11Interop.LowLevelAPI80;
using Net.Pkcs11Interop.LowLevelAPI80.MechanismParams;

namespace Kms.Hsm.Native;

/// <summary>A mechanism and its parameter, in memory of its own.</summary>
internal sealed class Mechanism : IDisposable
{
    public const int GcmNonceLength = 12;
    public const int GcmTagLength = 16;

    private readonly CallMemory _memory = new();
    private CK_MECHANISM _native;

    public Mechanism(CKM type) => _native.Mechanism = (ulong)type;

    /// <summary>CKM_AES_GCM (PKCS#11 v2.40 errata §2.12.4), a tag of 128 bits.</summary>
    public static Mechanism AesGcm(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> additionalData)
    {
        Mechanism mechanism = new(CKM.CKM_AES_GCM);
        CK_GCM_PARAMS parameters = new()
        {
            Iv = mechanism._memory.Copy(nonce),
            IvLen = (ulong)nonce.Length,
            IvBits = (ulong)nonce.Length * 8,
            AAD = mechanism._memory.Copy(additionalData),
            AADLen = (ulong)additionalData.Length,
            TagBits = GcmTagLength * 8,
        };
        mechanism._native.Parameter = mechanism._memory.Copy(MemoryMarshal.AsBytes(new ReadOnlySpan<CK_GCM_PARAMS>(in parameters)));
        mechanism._native.ParameterLen = (ulong)Marshal.SizeOf<CK_GCM_PARAMS>();
        return mechanism;
    }

    /// <summary>CKM_RSA_PKCS_PSS over a SHA-256 digest, with MGF1-SHA-256 and a salt of 32 bytes (PKCS#11 v2.40 §2.1.10).</summary>
    public static Mechanism RsaPssSha256()
    {
        Mechanism mechanism = new(CKM.CKM_RSA_PKCS_PSS);
        CK_RSA_PKCS_PSS_PARAMS parameters = new()
        {
            HashAlg = (ulong)CKM.CKM_SHA256,
            Mgf = (ulong)CKG.CKG_MGF1_SHA256,
            Len = SHA256.HashSizeInBytes,
        };
        mechanism._native.Parameter = mechanism._memory.Copy(
            MemoryMarshal.AsBytes(new ReadOnlySpan<CK_RSA_PKCS_PSS_PARAMS>(in parameters)));
        mechanism._native.ParameterLen = (ulong)Marshal.SizeOf<CK_RSA_PKCS_PSS_PARAMS>();
        return mechanism;
    }

    /// <summary>CKM_RSA_PKCS_OAEP with SHA-1, MGF1-SHA-1 and no label (PKCS#11 v2.40 §2.1.8): the one that every token knows.</summary>
    public static Mechanism RsaOaepSha1()
    {
        Mechanism mechanism = new(CKM.CKM_RSA_PKCS_OAEP);
        CK_RSA_PKCS_OAEP_PARAMS parameters = new()
        {
            HashAlg = (ulong)CKM.CKM_SHA_1,
            Mgf = (ulong)CKG.CKG_MGF1_SHA1,
            Source = (ulong)CKZ.CKZ_DATA_SPECIFIED,
        };
        mechanism._native.Parameter = mechanism._memory.Copy(
            MemoryMarshal.AsBytes(new ReadOnlySpan<CK_RSA_PKCS_OAEP_PARAMS>(in parameters)));
        mechanism._native.ParameterLen = (ulong)Marshal.SizeOf<CK_RSA_PKCS_OAEP_PARAMS>();
        return mechanism;
    }

    public ref CK_MECHANISM Native => ref _native;

    public void Dispose() => _memory.Dispose();
}
