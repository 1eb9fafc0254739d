using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Net.Pkcs11Interop.Common;
using Net.Pkcs11Interop.LowLevelAPI80;

namespace Kms.Hsm.Native;

/// <summary>
/// A loaded and initialised PKCS#11 module: its functions, each checked, with memory that is ours for as long as a call runs.
/// A process initialises a module once (C_Initialize), so one instance a module at a time.
/// </summary>
internal sealed class Module : IDisposable
{
    /// <summary>Longer than any attribute that is read, in bytes: labels, ids, flags, values of data objects.</summary>
    public const int LongestAttribute = 1024;

    private readonly Pkcs11Library _library;

    private Module(Pkcs11Library library) => _library = library;

    /// <exception cref="TokenException">The file isn't there, is no module, or doesn't start.</exception>
    [SuppressMessage("Design", "CA1031", Justification = "Whatever loading throws means one thing: the file is no usable module.")]
    public static Module Load(string path)
    {
        if (!Path.IsPathFullyQualified(path))
        {
            throw new ArgumentException("A module is named by its absolute path.", nameof(path));
        }

        if (!File.Exists(path))
        {
            throw new TokenException(TokenFault.ModuleMissing, $"The module {path} isn't there.");
        }

        Pkcs11Library library;
        try
        {
            library = new Pkcs11Library(path, useGetFunctionList: true);
        }
        catch (Exception exception)
        {
            throw new TokenException(TokenFault.ModuleUnusable, $"{path} is not a PKCS#11 module.", exception);
        }

        // The library may be called by many threads, which it locks with the system's own means (§5.4).
        CKR result = library.C_Initialize(new CK_C_INITIALIZE_ARGS { Flags = CKF.CKF_OS_LOCKING_OK });
        if (result != CKR.CKR_OK)
        {
            library.Dispose();
            throw new TokenException(
                TokenFault.ModuleUnusable,
                $"The module {path} doesn't start ({Name(result)}); check what it needs, such as SOFTHSM2_CONF for SoftHSM.",
                Failure(nameof(Pkcs11Library.C_Initialize), result));
        }

        return new Module(library);
    }

    public IReadOnlyList<ulong> SlotsWithToken()
    {
        ulong count = 0;
        Check(_library.C_GetSlotList(true, null!, ref count));
        ulong[] slots = new ulong[count];
        if (count > 0)
        {
            Check(_library.C_GetSlotList(true, slots, ref count));
        }

        return slots[..checked((int)count)];
    }

    /// <summary>The token in a slot, or null if it holds none that was initialised.</summary>
    public TokenDescription? Describe(ulong slot)
    {
        CK_TOKEN_INFO info = default;
        Check(_library.C_GetTokenInfo(slot, ref info));
        return (info.Flags & CKF.CKF_TOKEN_INITIALIZED) == 0
            ? null
            : new TokenDescription(
                Text(info.Label), Text(info.SerialNumber), Text(info.ManufacturerId), Text(info.Model),
                string.Create(CultureInfo.InvariantCulture, $"{info.FirmwareVersion.Major[0]}.{info.FirmwareVersion.Minor[0]}"));
    }

    public ulong OpenSession(ulong slot, bool readWrite)
    {
        ulong session = 0;
        ulong flags = CKF.CKF_SERIAL_SESSION | (readWrite ? CKF.CKF_RW_SESSION : 0);
        Check(_library.C_OpenSession(slot, flags, 0, 0, ref session));
        return session;
    }

    /// <summary>The session is open, and the user is logged in (PKCS#11 v2.40 §5.6).</summary>
    public bool IsLoggedIn(ulong session)
    {
        CK_SESSION_INFO info = default;
        return _library.C_GetSessionInfo(session, ref info) == CKR.CKR_OK
            && (CKS)info.State is CKS.CKS_RO_USER_FUNCTIONS or CKS.CKS_RW_USER_FUNCTIONS;
    }

    public void CloseSession(ulong session) => Check(_library.C_CloseSession(session));

    public void Login(ulong session, SecretBytes pin)
    {
        byte[] copy = GC.AllocateUninitializedArray<byte>(pin.Length, pinned: true);
        try
        {
            using (SecretLease lease = pin.Open())
            {
                lease.Bytes.CopyTo(copy);
            }

            Check(_library.C_Login(session, CKU.CKU_USER, copy, (ulong)copy.Length));
        }
        finally
        {
            CryptographicOperations.ZeroMemory(copy);
        }
    }

    public void GenerateRandom(ulong session, Span<byte> destination)
    {
        byte[] buffer = GC.AllocateUninitializedArray<byte>(destination.Length, pinned: true);
        Check(_library.C_GenerateRandom(session, buffer, (ulong)buffer.Length));
        buffer.CopyTo(destination);
        CryptographicOperations.ZeroMemory(buffer);
    }

    public ulong GenerateKey(ulong session, CKM type, Template template)
    {
        using Mechanism mechanism = new(type);
        ulong key = 0;
        Check(_library.C_GenerateKey(session, ref mechanism.Native, template.ToArray(), template.Count, ref key));
        return key;
    }

    public (ulong Public, ulong Private) GenerateKeyPair(ulong session, CKM type, Template publicKey, Template privateKey)
    {
        using Mechanism mechanism = new(type);
        ulong publicHandle = 0;
        ulong privateHandle = 0;
        Check(_library.C_GenerateKeyPair(
            session, ref mechanism.Native, publicKey.ToArray(), publicKey.Count, privateKey.ToArray(), privateKey.Count,
            ref publicHandle, ref privateHandle));
        return (publicHandle, privateHandle);
    }

    public ulong CreateObject(ulong session, Template template)
    {
        ulong created = 0;
        Check(_library.C_CreateObject(session, template.ToArray(), template.Count, ref created));
        return created;
    }

    public void DestroyObject(ulong session, ulong handle) => Check(_library.C_DestroyObject(session, handle));

    public IReadOnlyList<ulong> Find(ulong session, Template template)
    {
        List<ulong> found = [];
        Check(_library.C_FindObjectsInit(session, template.ToArray(), template.Count), nameof(Pkcs11Library.C_FindObjectsInit));
        try
        {
            ulong[] batch = new ulong[16];
            ulong count;
            do
            {
                count = 0;
                Check(_library.C_FindObjects(session, batch, (ulong)batch.Length, ref count), nameof(Pkcs11Library.C_FindObjects));
                found.AddRange(batch.AsSpan(0, checked((int)count)));
            }
            while (count > 0);
        }
        finally
        {
            Check(_library.C_FindObjectsFinal(session), nameof(Pkcs11Library.C_FindObjectsFinal));
        }

        return found;
    }

    /// <summary>An attribute's value, or null if the token doesn't know it.</summary>
    public unsafe byte[]? Attribute(ulong session, ulong handle, CKA type)
    {
        using CallMemory memory = new();
        CK_ATTRIBUTE[] template = [new() { type = (ulong)type, value = memory.Take(LongestAttribute), valueLen = LongestAttribute }];
        CKR result = _library.C_GetAttributeValue(session, handle, template, 1);
        if (result is CKR.CKR_ATTRIBUTE_TYPE_INVALID or CKR.CKR_ATTRIBUTE_SENSITIVE)
        {
            return null;
        }

        Check(result, nameof(Pkcs11Library.C_GetAttributeValue));
        return template[0].valueLen > LongestAttribute
            ? null
            : new ReadOnlySpan<byte>((void*)template[0].value, (int)template[0].valueLen).ToArray();
    }

    /// <summary>Encrypts; the result is as long as the mechanism makes it, at most <paramref name="room"/> longer than the text.</summary>
    public byte[] Encrypt(ulong session, Mechanism mechanism, ulong key, byte[] plaintext, int room)
    {
        Check(_library.C_EncryptInit(session, ref mechanism.Native, key), nameof(Pkcs11Library.C_EncryptInit));
        byte[] output = new byte[plaintext.Length + room];
        ulong length = (ulong)output.Length;
        Check(_library.C_Encrypt(session, plaintext, (ulong)plaintext.Length, output, ref length));
        return output[..checked((int)length)];
    }

    /// <summary>Decrypts into a pinned array, which the caller zeroes.</summary>
    public byte[] Decrypt(ulong session, Mechanism mechanism, ulong key, byte[] ciphertext, out int length)
    {
        Check(_library.C_DecryptInit(session, ref mechanism.Native, key), nameof(Pkcs11Library.C_DecryptInit));

        // SoftHSM asks for room for the whole input, tag included.
        byte[] output = GC.AllocateArray<byte>(ciphertext.Length, pinned: true);
        ulong written = (ulong)output.Length;
        Check(_library.C_Decrypt(session, ciphertext, (ulong)ciphertext.Length, output, ref written));
        length = checked((int)written);
        return output;
    }

    /// <summary>Encrypts what the first buffer holds into the second, and says how many bytes that made.</summary>
    public int Encrypt(ulong session, Mechanism mechanism, ulong key, CallBuffer plaintext, CallBuffer output)
    {
        Check(_library.C_EncryptInit(session, ref mechanism.Native, key), nameof(Pkcs11Library.C_EncryptInit));
        ulong length = (ulong)output.Length;
        Check(_library.C_Encrypt(session, plaintext.Array, (ulong)plaintext.Length, output.Array, ref length));
        return checked((int)length);
    }

    /// <summary>Decrypts what the first buffer holds into the second, and says how many bytes that made.</summary>
    public int Decrypt(ulong session, Mechanism mechanism, ulong key, CallBuffer ciphertext, CallBuffer output)
    {
        Check(_library.C_DecryptInit(session, ref mechanism.Native, key), nameof(Pkcs11Library.C_DecryptInit));
        ulong length = (ulong)output.Length;
        Check(_library.C_Decrypt(session, ciphertext.Array, (ulong)ciphertext.Length, output.Array, ref length));
        return checked((int)length);
    }

    public byte[] Wrap(ulong session, CKM type, ulong wrappingKey, ulong key)
    {
        using Mechanism mechanism = new(type);
        byte[] output = new byte[4096];
        ulong length = (ulong)output.Length;
        Check(_library.C_WrapKey(session, ref mechanism.Native, wrappingKey, key, output, ref length));
        return output[..checked((int)length)];
    }

    public ulong Unwrap(ulong session, CKM type, ulong wrappingKey, byte[] wrapped, Template template)
    {
        using Mechanism mechanism = new(type);
        return Unwrap(session, mechanism, wrappingKey, wrapped, template);
    }

    public ulong Unwrap(ulong session, Mechanism mechanism, ulong wrappingKey, byte[] wrapped, Template template)
    {
        ulong key = 0;
        Check(_library.C_UnwrapKey(
            session, ref mechanism.Native, wrappingKey, wrapped, (ulong)wrapped.Length, template.ToArray(), template.Count, ref key));
        return key;
    }

    /// <summary>A MAC or a signature, in a pinned array, which the caller zeroes if it is a secret.</summary>
    public byte[] Sign(ulong session, CKM type, ulong key, byte[] message, int length)
    {
        using Mechanism mechanism = new(type);
        return Sign(session, mechanism, key, message, length);
    }

    /// <summary>A MAC or a signature, in a pinned array, which the caller zeroes if it is a secret.</summary>
    public byte[] Sign(ulong session, Mechanism mechanism, ulong key, byte[] message, int length)
    {
        Check(_library.C_SignInit(session, ref mechanism.Native, key), nameof(Pkcs11Library.C_SignInit));
        byte[] signature = GC.AllocateArray<byte>(length, pinned: true);
        ulong written = (ulong)length;
        Check(_library.C_Sign(session, message, (ulong)message.Length, signature, ref written));
        return written == (ulong)length ? signature : throw new InvalidDataException($"C_Sign gave {written} bytes, not {length}.");
    }

    /// <summary>Finalises the module. Nobody may be in a call.</summary>
    public void Dispose()
    {
        CKR result = _library.C_Finalize(0);
        _library.Dispose();
        Check(result, nameof(Pkcs11Library.C_Finalize));
    }

    private static string Text(byte[] padded) => System.Text.Encoding.UTF8.GetString(padded).TrimEnd(' ', '\0');

    private static string Name(CKR result) =>
        Enum.IsDefined(result) ? result.ToString() : string.Create(CultureInfo.InvariantCulture, $"CK_RV 0x{(ulong)result:x8}");

    private static Pkcs11Exception Failure(string function, CKR result) => new(function, (ulong)result, Name(result));

    private static void Check(CKR result, [CallerArgumentExpression(nameof(result))] string call = "")
    {
        if (result != CKR.CKR_OK)
        {
            // "_library.C_Login(session, …)" or the name alone.
            string function = call.StartsWith("_library.", StringComparison.Ordinal) ? call["_library.".Length..call.IndexOf('(', StringComparison.Ordinal)] : call;
            throw Failure(function, result);
        }
    }

    /// <summary>Pkcs11Interop asks for libdl, a name that only development packages bring.</summary>
    [ModuleInitializer]
    [SuppressMessage("Usage", "CA2255", Justification = "Must come before anything else of Pkcs11Interop is used.")]
    internal static void ResolveLibdl() => NativeLibrary.SetDllImportResolver(
        typeof(Pkcs11Library).Assembly,
        static (name, assembly, paths) => name == "libdl" ? NativeLibrary.Load("libdl.so.2", assembly, paths) : 0);
}
