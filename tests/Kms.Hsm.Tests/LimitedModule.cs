using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Net.Pkcs11Interop.Common;
using Net.Pkcs11Interop.LowLevelAPI80;

namespace Kms.Hsm.Tests;

/// <summary>
/// The real module as one that can do less: it lacks a mechanism, hands out keys that can be extracted, or doesn't destroy.
/// The function table (PKCS#11 v2.40 §3.6) is put back at the end.
/// </summary>
internal sealed unsafe class LimitedModule : IDisposable
{
    // Positions in CK_FUNCTION_LIST, which begins with a version that is padded to a pointer.
    private const int GetSessionInfoPosition = 15;
    private const int LogoutPosition = 19;
    private const int CreateObjectPosition = 20;
    private const int DestroyObjectPosition = 22;
    private const int GetAttributeValuePosition = 24;
    private const int EncryptInitPosition = 29;
    private const int DecryptInitPosition = 33;
    private const int SignInitPosition = 42;
    private const int GenerateKeyPairPosition = 59;
    private const int WrapKeyPosition = 60;
    private const int UnwrapKeyPosition = 61;

    private static readonly nint[] s_real = new nint[UnwrapKeyPosition + 1];
    private static bool s_refusesCreations;
    private static ulong s_lackingUnwrap;
    private static ulong s_lacking;
    private static CKR s_refusal;
    private static bool s_isReadable;
    private static int s_failingDestructions;
    private static int s_failingSessionInfos;

    private readonly nint* _table;

    public LimitedModule()
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
        s_lacking = ulong.MaxValue;
        s_isReadable = false;
        s_failingDestructions = 0;
        s_failingSessionInfos = 0;
        s_refusesCreations = false;
        HasRefusedCreation = false;
        s_lackingUnwrap = ulong.MaxValue;
        Replace(CreateObjectPosition, (nint)(delegate* unmanaged[Cdecl]<ulong, CK_ATTRIBUTE*, ulong, ulong*, ulong>)&CreateObject);
        Replace(UnwrapKeyPosition, (nint)(delegate* unmanaged[Cdecl]<ulong, ulong*, ulong, byte*, ulong, void*, ulong, ulong*, ulong>)&UnwrapKey);
        Replace(GetSessionInfoPosition, (nint)(delegate* unmanaged[Cdecl]<ulong, void*, ulong>)&GetSessionInfo);
        s_real[LogoutPosition] = _table[LogoutPosition];
        Replace(DestroyObjectPosition, (nint)(delegate* unmanaged[Cdecl]<ulong, ulong, ulong>)&DestroyObject);
        Replace(
            GetAttributeValuePosition, (nint)(delegate* unmanaged[Cdecl]<ulong, ulong, ulong*, ulong, ulong>)&GetAttributeValue);
        Replace(EncryptInitPosition, (nint)(delegate* unmanaged[Cdecl]<ulong, ulong*, ulong, ulong>)&EncryptInit);
        Replace(DecryptInitPosition, (nint)(delegate* unmanaged[Cdecl]<ulong, ulong*, ulong, ulong>)&DecryptInit);
        Replace(SignInitPosition, (nint)(delegate* unmanaged[Cdecl]<ulong, ulong*, ulong, ulong>)&SignInit);
        Replace(
            GenerateKeyPairPosition,
            (nint)(delegate* unmanaged[Cdecl]<ulong, ulong*, void*, ulong, void*, ulong, ulong*, ulong*, ulong>)&GenerateKeyPair);
        Replace(WrapKeyPosition, (nint)(delegate* unmanaged[Cdecl]<ulong, ulong*, ulong, ulong, byte*, ulong*, ulong>)&WrapKey);
    }

    public static void Lack(CKM mechanism, CKR refusal = CKR.CKR_MECHANISM_INVALID)
    {
        s_lacking = (ulong)mechanism;
        s_refusal = refusal;
    }

    /// <summary>No object that can't be extracted is made from a value.</summary>
    public static void RefuseCreations() => s_refusesCreations = true;

    public static bool HasRefusedCreation { get; private set; }

    public static void LackUnwrapping(CKM mechanism) => s_lackingUnwrap = (ulong)mechanism;

    /// <summary>CKA_EXTRACTABLE of every key reads as true.</summary>
    public static void MakeKeysReadable() => s_isReadable = true;

    public static void FailDestructions(int count) => s_failingDestructions = count;

    public static void FailSessionInfos(int count) => s_failingSessionInfos = count;

    /// <summary>C_Logout, as another part of the process might call it.</summary>
    public static ulong Logout(ulong session)
    {
        var real = (delegate* unmanaged[Cdecl]<ulong, ulong>)s_real[LogoutPosition];
        return real(session);
    }

    public void Dispose()
    {
        for (int position = 0; position < s_real.Length; position++)
        {
            if (s_real[position] != 0)
            {
                _table[position] = s_real[position];
            }
        }
    }

    private void Replace(int position, nint function)
    {
        s_real[position] = _table[position];
        _table[position] = function;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static ulong CreateObject(ulong session, CK_ATTRIBUTE* template, ulong count, ulong* handle)
    {
        for (ulong i = 0; s_refusesCreations && i < count; i++)
        {
            if ((CKA)template[i].type == CKA.CKA_EXTRACTABLE && *(byte*)template[i].value == 0)
            {
                HasRefusedCreation = true;
                return (ulong)CKR.CKR_TEMPLATE_INCONSISTENT;
            }
        }

        var real = (delegate* unmanaged[Cdecl]<ulong, CK_ATTRIBUTE*, ulong, ulong*, ulong>)s_real[CreateObjectPosition];
        return real(session, template, count, handle);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static ulong UnwrapKey(ulong session, ulong* mechanism, ulong wrapping, byte* wrapped, ulong length, void* template, ulong count, ulong* key)
    {
        var real = (delegate* unmanaged[Cdecl]<ulong, ulong*, ulong, byte*, ulong, void*, ulong, ulong*, ulong>)s_real[UnwrapKeyPosition];
        return *mechanism == s_lackingUnwrap
            ? (ulong)CKR.CKR_MECHANISM_INVALID
            : real(session, mechanism, wrapping, wrapped, length, template, count, key);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static ulong GetSessionInfo(ulong session, void* info)
    {
        var real = (delegate* unmanaged[Cdecl]<ulong, void*, ulong>)s_real[GetSessionInfoPosition];
        return Interlocked.Decrement(ref s_failingSessionInfos) >= 0 ? (ulong)CKR.CKR_DEVICE_ERROR : real(session, info);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static ulong DestroyObject(ulong session, ulong handle)
    {
        var real = (delegate* unmanaged[Cdecl]<ulong, ulong, ulong>)s_real[DestroyObjectPosition];
        return Interlocked.Decrement(ref s_failingDestructions) >= 0 ? (ulong)CKR.CKR_FUNCTION_FAILED : real(session, handle);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static ulong GetAttributeValue(ulong session, ulong handle, ulong* template, ulong count)
    {
        var real = (delegate* unmanaged[Cdecl]<ulong, ulong, ulong*, ulong, ulong>)s_real[GetAttributeValuePosition];
        ulong result = real(session, handle, template, count);
        if (s_isReadable && result == 0 && template[0] == (ulong)CKA.CKA_EXTRACTABLE)
        {
            *(byte*)template[1] = 1;
        }

        return result;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static ulong EncryptInit(ulong session, ulong* mechanism, ulong key) => Init(EncryptInitPosition, session, mechanism, key);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static ulong DecryptInit(ulong session, ulong* mechanism, ulong key) => Init(DecryptInitPosition, session, mechanism, key);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static ulong SignInit(ulong session, ulong* mechanism, ulong key) => Init(SignInitPosition, session, mechanism, key);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static ulong GenerateKeyPair(
        ulong session, ulong* mechanism, void* first, ulong firstCount, void* second, ulong secondCount, ulong* one, ulong* other)
    {
        var real = (delegate* unmanaged[Cdecl]<ulong, ulong*, void*, ulong, void*, ulong, ulong*, ulong*, ulong>)s_real[GenerateKeyPairPosition];
        return *mechanism == s_lacking
            ? (ulong)s_refusal
            : real(session, mechanism, first, firstCount, second, secondCount, one, other);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static ulong WrapKey(ulong session, ulong* mechanism, ulong wrapping, ulong key, byte* output, ulong* length)
    {
        var real = (delegate* unmanaged[Cdecl]<ulong, ulong*, ulong, ulong, byte*, ulong*, ulong>)s_real[WrapKeyPosition];
        return *mechanism == s_lacking ? (ulong)s_refusal : real(session, mechanism, wrapping, key, output, length);
    }

    private static ulong Init(int position, ulong session, ulong* mechanism, ulong key)
    {
        var real = (delegate* unmanaged[Cdecl]<ulong, ulong*, ulong, ulong>)s_real[position];
        return *mechanism == s_lacking ? (ulong)s_refusal : real(session, mechanism, key);
    }
}
