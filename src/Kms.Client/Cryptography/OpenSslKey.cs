using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Kms.Client.Protocol;

namespace Kms.Client.Cryptography;

/// <summary>
/// An EVP_PKEY of OpenSSL 3 that holds a public key alone and has the daemon sign: an EC_KEY with a method of its own
/// (EC_KEY_METHOD_new(3)), the way PKCS #11 keys come into OpenSSL. OpenSSL treats such a key as foreign and never looks for
/// its private part.
/// </summary>
internal static unsafe partial class OpenSslKey
{
    private const string Library = "libcrypto.so.3";
    private const int EcKeyType = 408; // EVP_PKEY_EC, that is NID_X9_62_id_ecPublicKey
    private const int EcKeyIndexClass = 8; // CRYPTO_EX_INDEX_EC_KEY
    private const int Failed = 0;
    private const int Done = 1;

    private static readonly Lazy<Hook> s_hook = new(Hook.Make);

    /// <exception cref="PlatformNotSupportedException">.NET uses another OpenSSL than version 3.</exception>
    /// <exception cref="CryptographicException">OpenSSL refused.</exception>
    public static SafeEvpPKeyHandle Make(RemoteKey remote, ReadOnlySpan<byte> publicKey)
    {
        if (SafeEvpPKeyHandle.OpenSslVersion >> 28 != 3)
        {
            throw new PlatformNotSupportedException("A key of kmsd can be given to OpenSSL 3 only, and .NET uses another version here.");
        }

        Hook hook = s_hook.Value;
        nint key;
        fixed (byte* start = publicKey)
        {
            byte* at = start;
            key = ReadPublicKey(0, &at, publicKey.Length);
        }

        Check(key != 0);
        nint pair = 0;
        try
        {
            Check(SetMethod(key, hook.Method) == Done);
            nint signer = GCHandle.ToIntPtr(GCHandle.Alloc(remote));
            if (SetExtra(key, hook.Index, signer) != Done)
            {
                GCHandle.FromIntPtr(signer).Free();
                Check(false);
            }

            pair = NewPair();
            Check(pair != 0 && Assign(pair, EcKeyType, key) == Done);
            key = 0; // The pair's now.
            var handle = new SafeEvpPKeyHandle(pair, ownsHandle: true);
            pair = 0;
            return handle;
        }
        finally
        {
            FreeKey(key);
            FreePair(pair);
        }
    }

    /// <summary>ECDSA_sign's own parameters; <paramref name="signature"/> has room for the longest DER form.</summary>
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    [SuppressMessage("Design", "CA1031", Justification = "An exception must not cross OpenSSL's frames; it becomes its failure.")]
    private static int Sign(
        int type, byte* digest, int digestLength, byte* signature, uint* signatureLength, nint inverse, nint x, nint key)
    {
        try
        {
            var remote = (RemoteKey)GCHandle.FromIntPtr(GetExtra(key, s_hook.Value.Index)).Target!;
            byte[] made = remote.Sign(
                new ReadOnlySpan<byte>(digest, digestLength).ToArray(), SignatureAlgorithm.EcdsaSha256, SignatureEncoding.Der);
            if (made.Length > LongestSignature(key))
            {
                return Failed;
            }

            made.CopyTo(new Span<byte>(signature, made.Length));
            *signatureLength = (uint)made.Length;
            return Done;
        }
        catch (Exception)
        {
            return Failed;
        }
    }

    /// <summary>CRYPTO_EX_free: the EC_KEY goes.</summary>
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Release(nint parent, nint signer, nint extra, int index, CLong number, nint argument)
    {
        if (signer != 0)
        {
            GCHandle.FromIntPtr(signer).Free();
        }
    }

    private static void Check(bool done)
    {
        if (!done)
        {
            throw new CryptographicException("OpenSSL doesn't take the key of kmsd.");
        }
    }

    /// <summary>Made once and never freed: keys of any age point to it.</summary>
    private sealed record Hook(nint Method, int Index)
    {
        public static Hook Make()
        {
            nint method = NewMethod(StandardMethod());
            Check(method != 0);
            SetSign(method, &Sign, 0, 0);
            int index = NewIndex(EcKeyIndexClass, default, 0, 0, 0, &Release);
            Check(index >= 0);
            return new Hook(method, index);
        }
    }

    [LibraryImport(Library, EntryPoint = "d2i_EC_PUBKEY")]
    private static partial nint ReadPublicKey(nint key, byte** from, CLong length);

    private static nint ReadPublicKey(nint key, byte** from, int length) => ReadPublicKey(key, from, new CLong(length));

    [LibraryImport(Library, EntryPoint = "EC_KEY_OpenSSL")]
    private static partial nint StandardMethod();

    [LibraryImport(Library, EntryPoint = "EC_KEY_METHOD_new")]
    private static partial nint NewMethod(nint from);

    [LibraryImport(Library, EntryPoint = "EC_KEY_METHOD_set_sign")]
    private static partial void SetSign(
        nint method, delegate* unmanaged[Cdecl]<int, byte*, int, byte*, uint*, nint, nint, nint, int> sign, nint setup, nint signParts);

    [LibraryImport(Library, EntryPoint = "CRYPTO_get_ex_new_index")]
    private static partial int NewIndex(
        int kind, CLong number, nint argument, nint onNew, nint onCopy,
        delegate* unmanaged[Cdecl]<nint, nint, nint, int, CLong, nint, void> onFree);

    [LibraryImport(Library, EntryPoint = "EC_KEY_set_method")]
    private static partial int SetMethod(nint key, nint method);

    [LibraryImport(Library, EntryPoint = "EC_KEY_set_ex_data")]
    private static partial int SetExtra(nint key, int index, nint value);

    [LibraryImport(Library, EntryPoint = "EC_KEY_get_ex_data")]
    private static partial nint GetExtra(nint key, int index);

    [LibraryImport(Library, EntryPoint = "ECDSA_size")]
    private static partial int LongestSignature(nint key);

    [LibraryImport(Library, EntryPoint = "EVP_PKEY_new")]
    private static partial nint NewPair();

    [LibraryImport(Library, EntryPoint = "EVP_PKEY_assign")]
    private static partial int Assign(nint pair, int type, nint key);

    [LibraryImport(Library, EntryPoint = "EC_KEY_free")]
    private static partial void FreeKey(nint key);

    [LibraryImport(Library, EntryPoint = "EVP_PKEY_free")]
    private static partial void FreePair(nint pair);
}
