using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Kms.Hsm.Tests;

/// <summary>
/// The real module with a few entries of its function table (PKCS#11 v2.40 §3.6) replaced: calls are counted, and one can be
/// made to fail or to wait. The table is put back at the end.
/// </summary>
internal sealed unsafe class FaultyModule : IDisposable
{
    public const ulong DeviceError = 0x30; // CKR_DEVICE_ERROR

    // Positions in CK_FUNCTION_LIST, which begins with a version that is padded to a pointer.
    private const int LoginPosition = 18;
    private const int GenerateKeyPosition = 58;
    private const int EncryptPosition = 30;

    private static delegate* unmanaged[Cdecl]<ulong, ulong, byte*, ulong, ulong> s_login;
    private static delegate* unmanaged[Cdecl]<ulong, void*, void*, ulong, ulong*, ulong> s_generateKey;
    private static delegate* unmanaged[Cdecl]<ulong, byte*, ulong, byte*, ulong*, ulong> s_encrypt;
    private static int s_logins;
    private static int s_generatedKeys;
    private static int s_failingKey;
    private static int s_failingEncryptions;
    private static ManualResetEventSlim? s_hasBegun;
    private static ManualResetEventSlim? s_hang;

    private readonly nint* _table;

    public FaultyModule()
    {
        // Never unloaded again, so that the table stays where it is.
        nint library = NativeLibrary.Load(SoftHsm.ModulePath);
        var getFunctionList = (delegate* unmanaged[Cdecl]<nint**, ulong>)NativeLibrary.GetExport(library, "C_GetFunctionList");
        nint* list;
        if (getFunctionList(&list) != 0)
        {
            throw new InvalidOperationException("C_GetFunctionList failed.");
        }

        _table = list + 1;
        s_logins = 0;
        s_generatedKeys = 0;
        s_failingKey = 0;
        s_failingEncryptions = 0;
        HangEncryptions(null, null);
        s_login = (delegate* unmanaged[Cdecl]<ulong, ulong, byte*, ulong, ulong>)_table[LoginPosition];
        s_generateKey = (delegate* unmanaged[Cdecl]<ulong, void*, void*, ulong, ulong*, ulong>)_table[GenerateKeyPosition];
        s_encrypt = (delegate* unmanaged[Cdecl]<ulong, byte*, ulong, byte*, ulong*, ulong>)_table[EncryptPosition];
        _table[LoginPosition] = (nint)(delegate* unmanaged[Cdecl]<ulong, ulong, byte*, ulong, ulong>)&Login;
        _table[GenerateKeyPosition] = (nint)(delegate* unmanaged[Cdecl]<ulong, void*, void*, ulong, ulong*, ulong>)&GenerateKey;
        _table[EncryptPosition] = (nint)(delegate* unmanaged[Cdecl]<ulong, byte*, ulong, byte*, ulong*, ulong>)&Encrypt;
    }

    public static int Logins => s_logins;

    public static int GeneratedKeys => s_generatedKeys;

    /// <summary>Lets the n-th C_GenerateKey from now fail.</summary>
    public static void FailKey(int number)
    {
        s_generatedKeys = 0;
        s_failingKey = number;
    }

    /// <summary>Lets the next C_Encrypt fail after it has begun.</summary>
    public static void FailNextEncryption() => s_failingEncryptions = 1;

    /// <summary>Lets every C_Encrypt say that it has begun and wait until the other event is set; null ends that.</summary>
    public static void HangEncryptions(ManualResetEventSlim? hasBegun, ManualResetEventSlim? until)
    {
        s_hasBegun = hasBegun;
        s_hang = until;
    }

    public void Dispose()
    {
        HangEncryptions(null, null);
        _table[LoginPosition] = (nint)s_login;
        _table[GenerateKeyPosition] = (nint)s_generateKey;
        _table[EncryptPosition] = (nint)s_encrypt;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static ulong Login(ulong session, ulong user, byte* pin, ulong length)
    {
        _ = Interlocked.Increment(ref s_logins);
        return s_login(session, user, pin, length);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static ulong GenerateKey(ulong session, void* mechanism, void* template, ulong count, ulong* key) =>
        Interlocked.Increment(ref s_generatedKeys) == s_failingKey
            ? DeviceError
            : s_generateKey(session, mechanism, template, count, key);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static ulong Encrypt(ulong session, byte* text, ulong length, byte* output, ulong* outputLength)
    {
        s_hasBegun?.Set();
        s_hang?.Wait();
        return Interlocked.Exchange(ref s_failingEncryptions, 0) == 1
            ? DeviceError
            : s_encrypt(session, text, length, output, outputLength);
    }
}
